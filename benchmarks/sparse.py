"""Sparse attention against dense: time and memory of forward and backward as lengths grow.

    python benchmarks/sparse.py [--threads 2] [--longest 16384] [--output FILE]
    python benchmarks/sparse.py --peers [--longest 16384]

B = 1, H = 8, d = 64, float32. Rows: Mask.window(128, 128) and BigBird (the same window, 2 global
positions, 3 random keys), by qkv.attend; torch's fused attention with the same masks drawn; and
without a mask. Times are the least of some runs that alternate, in one process; memory is the
peak beyond the inputs, of a fresh process each. Nothing is told if an output is not the dense
one.

--peers: instead, a window of 256 keys at the longest length beside FlexAttention, compiled (it has
no backward on a CPU), and the local-attention package (peers/install.py), as in operators.py.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from operators import WINDOW, window
from peers import install
from rounds import agree, alternate, peak, slope
from torch.nn.functional import scaled_dot_product_attention

import qkv
from qkv import Mask

HEADS, WIDTH = 8, 64
MASKS = {
    "window": Mask.window(128, 128),
    "bigbird": qkv.masks.bigbird(128, [0, 1], 3),
}
ROWS = ("window", "bigbird", "window, drawn", "bigbird, drawn", "no mask")


def inputs(length: int) -> list[torch.Tensor]:
    """Return query, key and value."""
    torch.manual_seed(0)
    return [torch.randn(1, HEADS, length, WIDTH, requires_grad=True) for _ in range(3)]


def runner(row: str, length: int):
    """Return what a row computes; a drawn mask is drawn before, and not timed."""
    name, _, drawn = row.partition(", ")
    if row == "no mask":
        return lambda *tensors: scaled_dot_product_attention(*tensors)
    if drawn:
        mask = MASKS[name].dense(length, length)
        return lambda *tensors: scaled_dot_product_attention(*tensors, attn_mask=mask)
    return lambda *tensors: qkv.attend(*tensors, mask=MASKS[name]).context


def passes(run, tensors: list[torch.Tensor], kind: str) -> None:
    """One forward pass, or one of each."""
    if kind == "both":
        run(*tensors).sum().backward()
        return
    with torch.no_grad():
        run(*tensors)


def timed(length: int, rounds: int) -> dict[str, dict[str, float]]:
    """The least times of each row, the rows in turn."""
    tensors = inputs(length)
    runs = {row: runner(row, length) for row in ROWS}
    for name in MASKS:
        same = {row: lambda row=row: [runs[row](*tensors)] for row in (f"{name}, drawn", name)}
        agree(same, tolerance=1e-5)
    ways = {
        (row, kind): lambda run=run, kind=kind: passes(run, tensors, kind)
        for row, run in runs.items()
        for kind in ("forward", "both")
    }
    taken = alternate(ways, rounds, least=0.0)
    return {row: {kind: min(taken[row, kind]) for kind in ("forward", "both")} for row in ROWS}


def beside(length: int, rounds: int = 5) -> None:
    """Print the times of the peers and ours, in turn, after their outputs were found equal."""
    for backward in (False, True):
        task = window(length, backward, full=True)
        calls = {name: call for name, call in task.calls().items() if "drawn" not in name}
        agree(calls, task.tolerance)
        least = {name: min(one) for name, one in alternate(calls, rounds, least=0.0).items()}
        told = ", ".join(f"{name} {1e3 * seconds:,.0f} ms" for name, seconds in least.items())
        print(f"{WINDOW} keys, {length:,}, {'both passes' if backward else 'forward'}: {told}")


def fresh_peak(row: str, length: int) -> float:
    """MiB beyond the inputs at the peak of forward and backward, in a fresh process."""
    command = [sys.executable, __file__, "--peak", row, "--longest", str(length)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(found.stdout)


def own_peak(row: str, length: int) -> float:
    """The same, in this process; a short call first, for what is allocated once."""
    passes(runner(row, 256), inputs(256), "both")
    tensors, run = inputs(length), runner(row, length)
    for tensor in tensors:
        tensor.grad = torch.zeros_like(tensor)
    return peak(lambda: passes(run, tensors, "both"))


def table(lengths: list[int], found: dict[str, dict]) -> str:
    """Markdown: one row a way to compute, one column a length."""
    lines = []
    for kind, unit, scale in (("forward", "ms", 1e3), ("both", "ms", 1e3), ("peak", "MiB", 1)):
        what = {"forward": "forward", "both": "forward and backward", "peak": "peak memory"}[kind]
        lines += ["", f"{what}, {unit}", ""]
        lines.append(f"| | {' | '.join(f'{n:,}' for n in lengths)} | grows as T^ |")
        lines.append("| --- |" + " --- |" * (len(lengths) + 1))
        for row in ROWS:
            values = [found[str(n)][row][kind] for n in lengths]
            cells = " | ".join(f"{value * scale:,.0f}" for value in values)
            lines.append(f"| {row} | {cells} | {slope(lengths[-3:], values[-3:]):.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=16384)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--peak", choices=ROWS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.peak:
        print(own_peak(given.peak, given.longest))
        return
    if given.peers:
        if why := install.beside("local-attention"):
            print(why, file=sys.stderr)
        beside(given.longest)
        return
    lengths = [n for n in (1024, 2048, 4096, 8192, 16384) if n <= given.longest]
    found = {}
    for length in lengths:
        rows = timed(length, rounds=2 if length > 4096 else 5)
        for row in ROWS:
            rows[row]["peak"] = fresh_peak(row, length)
        found[str(length)] = rows
        print(f"{length}: {json.dumps(rows)}", file=sys.stderr)
    print(table(lengths, found))
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
