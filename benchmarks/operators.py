"""The operators against what people use instead: one table.

    python benchmarks/operators.py [--threads 2] [--rounds 5] [--tasks additive/batch ...] [--full]

float32. Additive scores with softmax and context: as everyone writes it (eager), torch.compile,
Keras' formula in torch. A window of 256 keys behind each query: torch's fused attention with the
mask drawn, FlexAttention compiled (it has no backward on a CPU), the package local-attention
(peers/install.py). Normalisers: the package entmax. --full adds the ways that compile, and longer
inputs, and installs what is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from additive import Projected, steps
from limits import every_limit
from peers.install import FOLDER, beside
from report import RESULTS, result, save
from rounds import agree, alternate, peak, summary
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import qkv
from qkv.attention.kernels import KERNELS

WINDOW = 256
ADDITIVE = {"long": (1, 512, 512, 256), "batch": (64, 30, 30, 256), "step": (64, 1, 30, 256)}


@dataclass(frozen=True)
class Task:
    """Ways to compute one thing from the same tensors; the first is the reference.

    work: units of arithmetic, or bytes, and the limit that they have (see limits.py).
    learned: what else gets a gradient.
    """

    tensors: tuple[Tensor, ...]
    ways: dict[str, Callable[..., Tensor]]
    backward: bool = False
    work: float = 0.0
    bound: str = ""
    learned: tuple[Tensor, ...] = ()
    tolerance: float = 1e-4  # beside the largest number: 2^18 terms of float32, in any order

    def calls(self) -> dict[str, Callable[[], list[Tensor]]]:
        """Return what is timed."""
        return {name: lambda way=way: passes(way, self) for name, way in self.ways.items()}


def passes(way: Callable[..., Tensor], task: Task) -> list[Tensor]:
    """One forward pass, or one of each: the output, and the gradients."""
    if not task.backward:
        with torch.no_grad():
            return [way(*task.tensors)]
    given = [tensor.requires_grad_() for tensor in task.tensors]
    out = way(*given)
    sent = task.tensors[-1].detach()  # of the output's shape, and dense as a gradient is
    return [out, *torch.autograd.grad(out, [*given, *task.learned], sent)]


def drawn(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Return the same random tensors in every process."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator) for shape in shapes)


def eager(query: Tensor, key: Tensor, value: Tensor, v: Tensor) -> Tensor:
    """As everyone writes it."""
    return torch.softmax(torch.tanh(query.unsqueeze(2) + key.unsqueeze(1)) @ v, -1) @ value


def keras(query: Tensor, key: Tensor, value: Tensor, v: Tensor) -> Tensor:
    """Keras' AdditiveAttention: multiplies by the scale and sums."""
    scores = (v * torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3))).sum(-1)
    return torch.matmul(torch.softmax(scores, -1), value)


def additive(size: tuple[int, ...], backward: bool, full: bool) -> Task:
    """Scores, softmax and context of projected queries and keys; of a step, keys are prepared."""
    batch, queries, keys, width = size
    *tensors, v = drawn(
        (batch, queries, width), (batch, keys, width), (batch, keys, width), (width,)
    )
    score = Projected(v)
    ways: dict[str, Callable[..., Tensor]] = {
        "eager": lambda *given: eager(*given, score.v),
        "Keras' formula": lambda *given: keras(*given, score.v),
    }
    if full and shutil.which("g++"):
        compiled = torch.compile(eager, dynamic=False)
        ways["torch.compile"] = lambda *given: compiled(*given, score.v)
    if queries == 1:  # every way has projected keys; ours may keep more of them, and reads that
        ways["qkv, prepared"] = steps(score)
        return Task(tuple(tensors), ways, backward, 4 * 2 * batch * keys * width, "bytes read")
    for kernel in ("additive", "additive_numba"):
        if KERNELS[kernel].absent is None:
            ways[f"qkv {kernel}"] = lambda *given, kernel=kernel: (
                qkv.attend(*given, score=score, kernel=kernel).context
            )
    # Four dimensions share a division, and so do four queries on the way back.
    work = batch * queries * keys * width / 4 * (2 if backward else 1)
    return Task(tuple(tensors), ways, backward, work, "divisions", (score.v,))


def window(length: int, backward: bool, full: bool) -> Task:
    """The query's own key and those before it, WINDOW in all."""
    tensors = drawn(*[(1, 8, length, 64)] * 3)
    mask = qkv.Mask.window(WINDOW - 1, 0)
    bare = mask.dense(length, length)
    ways: dict[str, Callable[..., Tensor]] = {
        "SDPA, mask drawn": lambda *given: scaled_dot_product_attention(*given, attn_mask=bare),
    }
    if importlib.util.find_spec("local_attention"):
        from local_attention import LocalAttention

        local = LocalAttention(
            WINDOW - 1, causal=True, look_backward=1, autopad=True, exact_windowsize=True,
            use_rotary_pos_emb=False,
        )  # fmt: skip
        ways["local-attention"] = local
    if full and not backward and shutil.which("g++"):
        ways["FlexAttention, compiled"] = flex(length)
    ways["qkv"] = lambda *given: qkv.attend(*given, mask=mask).context
    pairs = length * WINDOW - WINDOW * (WINDOW - 1) / 2
    work = 8 * pairs * 64 * 4 * (3.5 if backward else 1)
    return Task(tensors, ways, backward, work, "products float32")


def flex(length: int) -> Callable[..., Tensor]:
    """Return FlexAttention, compiled for this length."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def near(batch, head, i, j):
        return (j <= i) & (i - j < WINDOW)

    blocks = create_block_mask(near, None, None, length, length, device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda *given: compiled(*given, block_mask=blocks)


def dense(length: int, backward: bool, full: bool) -> Task:
    """Causal attention, B4 H8 d64."""
    tensors = drawn(*[(4, 8, length, 64)] * 3)
    mask = qkv.Mask.causal()
    work = 4 * 8 * length * (length + 1) / 2 * 64 * 4 * (3.5 if backward else 1)
    ways = {
        "SDPA": lambda *given: scaled_dot_product_attention(*given, is_causal=True),
        "qkv": lambda *given: qkv.attend(*given, mask=mask).context,
    }
    return Task(tensors, ways, backward, work, "products float32")


def normalizer(name: str, backward: bool, full: bool) -> Task:
    """A normaliser over rows of 1,000."""
    rows = 512
    ways: dict[str, Callable[..., Tensor]] = {}
    ours = qkv.normalizers.Sparsemax() if name == "sparsemax" else qkv.normalizers.Entmax(1.5)
    if importlib.util.find_spec("entmax"):
        import entmax

        ways["entmax"] = entmax.sparsemax if name == "sparsemax" else entmax.entmax15
    ways["qkv"] = lambda energies: ours(energies, stats=False).weights
    # Energies are read and weights written; backward reads these and the gradients, and writes.
    moved = 4 * rows * 1000 * (5 if backward else 2)
    return Task(drawn((rows, 1000)), ways, backward, moved, "bytes read")


BUILDERS: dict[str, tuple[Callable[..., Task], object]] = {
    **{f"additive/{name}": (additive, size) for name, size in ADDITIVE.items()},
    **{f"window/{n}": (window, n) for n in (2048, 8192)},
    **{f"causal/{n}": (dense, n) for n in (64, 512, 2048)},
    **{f"normaliser/{name}": (normalizer, name) for name in ("sparsemax", "entmax 1.5")},
}
SMALL = [name for name in BUILDERS if name not in ("window/8192", "causal/2048")]


def build(name: str, backward: bool, full: bool) -> Task:
    """Return a task by its name."""
    builder, size = BUILDERS[name]
    return builder(size, backward, full)


def rows_of(name: str, backward: bool, said: argparse.Namespace, rates: dict) -> list[dict]:
    """Check and measure one task."""
    task = build(name, backward, said.full)
    label = f"{name}, {'forward and backward' if backward else 'forward'}"
    agree(task.calls(), task.tolerance)
    rows = []
    limit = task.work / rates[task.bound] * 1e3 if task.bound in rates else None
    for way, taken in alternate(task.calls(), said.rounds).items():
        times = {key: 1e3 * value for key, value in summary(taken).items()}
        memory = None if way in COMPILED else fresh_peak(name, way, backward, said.folder)
        rows.append(
            {"task": label, "way": way, "unit": "ms", **times, "megabytes": memory}
            | ({"limit": limit, "bound": task.bound} if limit else {})
        )
        print(f"{label:45} {way:25} {times['median']:10.3f} ms", flush=True)
    return rows


COMPILED = ("torch.compile", "FlexAttention, compiled")  # what compiling takes would be told


def fresh_peak(name: str, way: str, backward: bool, folder: Path) -> float | None:
    """Return the MiB at the peak of a call, in a process of its own."""
    words = [sys.executable, __file__, "--peak", way, "--tasks", name, "--folder", str(folder)]
    ran = subprocess.run(
        words + ["--backward"] * backward, capture_output=True, text=True, env=dict(os.environ)
    )
    return float(ran.stdout) if ran.returncode == 0 else None


def main() -> None:
    """Measure, and leave a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", choices=BUILDERS)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the peers are")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--backward", action="store_true", help=argparse.SUPPRESS)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    absent = beside("local-attention", said.folder, install=said.full)
    if said.peak:
        task = build(said.tasks[0], said.backward, full=False)
        task.calls()[said.peak]()
        print(peak(task.calls()[said.peak]))
        return
    rates = every_limit(said.threads)
    about = dict(zip(("rows", "skipped"), measured(said, rates, absent), strict=True))
    found = result("Operators", said.threads, rates, **about)
    print(save(said.results / "operators.json", found))


def measured(
    said: argparse.Namespace, rates: dict, absent: str = ""
) -> tuple[list[dict], list[str]]:
    """Return the rows, and why others are missing: a task that fails does not lose the rest."""
    rows: list[dict] = []
    skipped = [absent] if absent else []
    if not said.full:
        skipped.append("torch.compile and FlexAttention: --full compiles")
    for name in said.tasks or (list(BUILDERS) if said.full else SMALL):
        for backward in (False,) if name.endswith("step") else (False, True):
            try:
                rows += rows_of(name, backward, said, rates)
            except (AssertionError, RuntimeError, NotImplementedError) as why:
                skipped.append(f"{name}: {str(why).splitlines()[0]}")
                print(skipped[-1], file=sys.stderr)
    return rows, skipped


if __name__ == "__main__":
    main()
