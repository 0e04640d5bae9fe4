"""How time grows with the length: time ~ T^k, fitted over four or five lengths.

    python benchmarks/growth.py [--threads 2] [--rounds 3] [--tasks window ...] [--longest 8192]

float32, forward, and forward with backward. Windowed and dense attention, linear attention (all
keys, and causal) and additive attention, each beside what it replaces: the drawn mask, torch's
fused attention, the same features with all pairs written out, and the formula as everyone writes
it. The ways of a length alternate, after their outputs were compared at the shortest length.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from limits import every_limit
from operators import Task, additive, dense, drawn, window
from report import RESULTS, result, save
from rounds import agree, alternate, slope, summary
from torch import Tensor
from torch.nn.functional import elu

import qkv

HEADS, WIDTH = 8, 64
LENGTHS = (512, 1024, 2048, 4096, 8192)
SHORT = (128, 256, 512, 1024, 2048)  # what all pairs of the additive score fit in
LONGEST = {
    "eager": 1024,
    "Keras' formula": 1024,
    "all pairs": 2048,
}  # of those that write all pairs out


def linear(mask: qkv.Mask | None) -> Callable[[int, bool, bool], Task]:
    """Linear attention with elu + 1 (Katharopoulos et al. 2020)."""

    def build(length: int, backward: bool, full: bool) -> Task:
        def pairs(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            weights = (elu(query) + 1) @ (elu(key) + 1).mT
            weights = weights if mask is None else weights.tril()
            return weights @ value / weights.sum(-1, keepdim=True)

        ways = {
            "all pairs": pairs,
            "qkv": lambda *given: qkv.linear_attend(*given, mask=mask).context,
        }
        # Sums of outer products, and their products with the queries; twice more backward.
        work = HEADS * length * WIDTH * WIDTH * 4 * (3 if backward else 1)
        tensors = drawn(*[(1, HEADS, length, WIDTH)] * 3)
        return Task(tensors, ways, backward, work, "products float32")

    return build


def pairwise(length: int, backward: bool, full: bool) -> Task:
    """Additive attention, a batch of one and width 128."""
    return additive((1, length, length, 128), backward, full)


TASKS: dict[str, tuple[Callable[[int, bool, bool], Task], tuple[int, ...]]] = {
    "window of 256": (window, LENGTHS),
    "dense, causal": (dense, LENGTHS[:4]),
    "linear": (linear(None), LENGTHS),
    "linear, causal": (linear(qkv.Mask.causal()), LENGTHS),
    "additive": (pairwise, SHORT),
}


def curves(name: str, backward: bool, said: argparse.Namespace, rates: dict) -> list[dict]:
    """Measure one task at each length."""
    build, lengths = TASKS[name]
    lengths = tuple(n for n in lengths if n <= said.longest)
    label = f"{name}, {'forward and backward' if backward else 'forward'}"
    taken: dict[str, dict[int, dict[str, float]]] = {}
    for length in lengths:
        task = build(length, backward, False)
        if length == lengths[0]:
            agree(task.calls(), task.tolerance)
        calls = {k: way for k, way in task.calls().items() if length <= LONGEST.get(k, length)}
        for way, seconds in alternate(calls, said.rounds).items():
            told = {key: 1e3 * value for key, value in summary(seconds).items()}
            limit = 1e3 * task.work / rates[task.bound] if task.bound in rates else None
            taken.setdefault(way, {})[length] = told | {"limit": limit}
            print(f"{label:40} {way:20} {length:6,} {told['median']:10.3f} ms", flush=True)
    return [curve(label, way, found, task.bound) for way, found in taken.items()]


def curve(label: str, way: str, found: dict[int, dict[str, float]], bound: str) -> dict:
    """Fit one way."""
    values = {key: [one[key] for one in found.values()] for key in ("median", "least", "most")}
    return {
        "task": label, "way": way, "unit": "ms", "lengths": list(found),
        "values": values["median"], "least": values["least"], "most": values["most"],
        "exponent": slope(list(found), values["median"]),
        "limit": list(found.values())[-1]["limit"], "bound": bound,
    }  # fmt: skip


def main() -> None:
    """Measure, and leave a result; a task that fails does not lose the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--longest", type=int, default=8192)
    parser.add_argument("--results", type=Path, default=RESULTS)
    said = parser.parse_args()
    if said.longest < LENGTHS[1]:
        parser.error(f"--longest {said.longest}: a curve needs two lengths, so {LENGTHS[1]}")
    torch.set_num_threads(said.threads)
    rates, found, skipped = every_limit(said.threads), [], []
    for name in said.tasks:
        for backward in (False, True):
            try:
                found += curves(name, backward, said, rates)
            except (AssertionError, RuntimeError) as why:
                skipped.append(f"{name}: {str(why).splitlines()[0]}")
                print(skipped[-1], file=sys.stderr)
    about = result("Growth", said.threads, rates, curves=found, skipped=skipped)
    print(save(said.results / "growth.json", about))


if __name__ == "__main__":
    main()
