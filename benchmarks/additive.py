"""The additive kernels against the formula as everyone writes it, eager and torch.compile.

    python benchmarks/additive.py [--threads 2] [--runs 7] [--cpu-time]

Scores, softmax and context from projected queries and keys, float32, forward and forward with
backward; a decoder's step is forward alone, as it decodes. Outputs and gradients are compared
first, and a way that differs is refused. Runs alternate; each number is a median. Memory is the
growth of the peak resident set in a fresh process (Linux), gradients included. --cpu-time counts
the processor's time of all threads in place of the clock: what a busy machine can be asked.

Where torch has a GPU all of it runs there, with the Triton kernels in the place of numba's, and
memory is what torch allocates. FlexAttention is not among the ways: what it modifies is a dot
product, and this score is none.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rounds import agree, alternate
from rounds import peak as peak_of
from torch import Tensor

import qkv
from qkv.attention.kernels import KERNELS
from qkv.attention.scores.score import AdditiveScore

SIZES = {  # batch, queries, keys, width
    "long": (1, 512, 512, 256),
    "batch": (64, 30, 30, 256),
    "step": (64, 1, 30, 256),
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = 1e-4  # beside the largest number of a result: 2^18 terms of float32, in any order


class Projected(AdditiveScore):
    """The additive score of queries and keys that are projected already."""

    def __init__(self, v: Tensor) -> None:
        super().__init__()
        self.v = torch.nn.Parameter(v)

    @classmethod
    def sized(cls, query_dim: int, key_dim: int, hidden: int) -> Projected:
        """Build one."""
        return cls(torch.randn(hidden))

    def to_hidden(self, query: Tensor) -> Tensor:
        """Return the query."""
        return query

    def prepare(self, key: Tensor) -> Tensor:
        """Return the key."""
        return key


def naive(query: Tensor, key: Tensor, value: Tensor, v: Tensor) -> Tensor:
    """What peers compute."""
    energies = torch.tanh(query.unsqueeze(2) + key.unsqueeze(1)) @ v
    return torch.softmax(energies, -1) @ value


def ours(kernel: str, score: Projected, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same by one of our kernels."""
    return qkv.attend(query, key, value, score=score, kernel=kernel).context


def inputs(size: str) -> list[Tensor]:
    """Query, key, value and v, the same for every way and process."""
    batch, queries, keys, width = SIZES[size]
    draw = torch.Generator().manual_seed(0)
    shapes = (batch, queries, width), (batch, keys, width), (batch, keys, width), (width,)
    return [torch.randn(shape, generator=draw).to(DEVICE) for shape in shapes]


def ways(v: Tensor) -> dict[str, Callable[..., Tensor]]:
    """Every way that can run here; why another cannot is printed."""
    score = Projected(v)
    found: dict[str, Callable[..., Tensor]] = {"eager": lambda *tensors: naive(*tensors, score.v)}
    if DEVICE == "cuda" or shutil.which("g++") or shutil.which("clang++"):
        compiled = torch.compile(naive, dynamic=False)
        found["torch.compile"] = lambda *tensors: compiled(*tensors, score.v)
    else:
        print("torch.compile: skipped, it needs a C++ compiler")
    for kernel in ("additive", "additive_triton" if DEVICE == "cuda" else "additive_numba"):
        absent = KERNELS[kernel].absent
        if absent is None:
            found[kernel] = partial(ours, kernel, score)
        else:
            print(f"{kernel}: skipped, it cannot run {absent}")
    return found


def passes(way: Callable[..., Tensor], tensors: list[Tensor], backward: bool) -> list[Tensor]:
    """One forward pass, or one of each; what it found."""
    if not backward:
        with torch.no_grad():
            return [way(*tensors)]
    given = [tensor.requires_grad_() for tensor in tensors]
    context = way(*given)
    sent = tensors[0].detach()  # of the context's shape, and dense as a gradient is
    return [context, *torch.autograd.grad(context, given, sent)]


def agreeing(
    found: dict[str, Callable[..., Tensor]], tensors: list[Tensor], backward: bool
) -> dict[str, Callable[..., Tensor]]:
    """Leave out ways whose results are not eager's; this is also each one's first, slow call."""
    calls = {name: partial(passes, way, tensors, backward) for name, way in found.items()}
    kept = {}
    for name, call in calls.items():
        try:
            agree({"eager": calls["eager"], name: call}, TOLERANCE)
            kept[name] = found[name]
        except AssertionError as why:
            print(f"{name}: refused, {str(why).splitlines()[0]}")
    return kept


def times(
    found: dict[str, Callable[..., Tensor]],
    tensors: list[Tensor],
    backward: bool,
    runs: int,
    clock: Callable[[], float],
) -> dict[str, list[float]]:
    """Milliseconds of each run, the ways in turn; short passes are repeated within one run."""

    def waited(way: Callable[..., Tensor]) -> None:
        passes(way, tensors, backward)
        _wait()

    ways = {name: partial(waited, way) for name, way in found.items()}
    taken = alternate(ways, runs, least=0.05, clock=clock)
    return {name: [1e3 * seconds for seconds in every] for name, every in taken.items()}


def _wait() -> None:
    """Until a GPU has done what it was told."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def peak(name: str, size: str, backward: bool, threads: int) -> float:
    """Megabytes by which one pass raises the peak of a fresh process, after a small first call."""
    torch.set_num_threads(threads)
    tensors = inputs(size)
    way = ways(tensors.pop())[name]
    small = [tensor[:1, :2].clone() for tensor in tensors]
    passes(way, small, backward)
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        passes(way, tensors, backward)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not Path("/proc/self/status").exists():
        return -1.0
    return peak_of(partial(passes, way, tensors, backward))


def row(size: str, backward: bool, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One row of the table: each way's time, how much faster than eager, and memory."""
    tensors = inputs(size)
    found = agreeing(ways(tensors.pop()), tensors, backward)
    clock = time.process_time if options.cpu_time else time.perf_counter
    taken = times(found, tensors, backward, options.runs, clock)
    eager = statistics.median(taken["eager"])
    table = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name, runs in taken.items():
            middle = statistics.median(runs)
            table[name] = {
                "ms": middle,
                "least_ms": min(runs),
                "most_ms": max(runs),
                "times_eager": eager / middle,
                "megabytes": -1.0
                if name == "torch.compile"
                else pool.apply(peak, (name, size, backward, options.threads)),
            }
    return table


def main() -> None:
    """Print the table, and the same as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--sizes", nargs="*", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for size in options.sizes:
        for backward in (False,) if size == "step" else (False, True):
            label = f"{size}, forward" + (" and backward" if backward else "")
            results[label] = row(size, backward, options)
            print(f"\n{label} (batch, queries, keys, width: {SIZES[size]})")
            for name, cell in results[label].items():
                memory = f"{cell['megabytes']:8.1f} MB" if cell["megabytes"] >= 0 else ""
                print(
                    f"  {name:15}{cell['ms']:10.3f} ms ({cell['least_ms']:.3f} to "
                    f"{cell['most_ms']:.3f}){cell['times_eager']:8.1f} x eager {memory}"
                )
    print(json.dumps({"threads": options.threads, "cpu": options.cpu_time, "rows": results}))


if __name__ == "__main__":
    main()
