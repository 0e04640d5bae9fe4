"""Sparse attention against dense: time and memory of forward and backward as lengths grow.

    python benchmarks/sparse.py [--threads 2] [--longest 16384] [--output FILE]
    python benchmarks/sparse.py --peer flex             # or local-attention, pip install it first

B = 1, H = 8, d = 64, float32. Rows: Mask.window(128, 128) and BigBird (the same window, 2 global
positions, 3 random keys), by qkv.attend; torch's fused attention with the same masks drawn; and
without a mask. Times are the least of some runs that alternate, in one process; memory is the
peak beyond the inputs, of a fresh process each. Nothing is told if an output is not the dense
one.

--peer: instead, Mask.window(256, 0) at the longest length beside FlexAttention, compiled (it has
no backward on a CPU), or the local-attention package, whose output must be equal.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from rounds import slope
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


def once(run, tensors: list[torch.Tensor], *, backward: bool = True) -> tuple[float, float]:
    """Seconds of a forward pass alone, and of forward and backward."""
    begin = time.perf_counter()
    with torch.no_grad():
        run(*tensors)
    middle = time.perf_counter()
    if backward:
        run(*tensors).sum().backward()
    return middle - begin, time.perf_counter() - middle


def timed(length: int, rounds: int) -> dict[str, dict[str, float]]:
    """The least times of each row, the rows in turn."""
    tensors = inputs(length)
    runs = {row: runner(row, length) for row in ROWS}
    for name in MASKS:
        ours, dense = (runs[row](*tensors) for row in (name, f"{name}, drawn"))
        torch.testing.assert_close(ours, dense, atol=1e-5, rtol=1e-4)
        del ours, dense
    found: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
    for _ in range(rounds):
        for row, run in runs.items():
            found[row].append(once(run, tensors))
            gc.collect()
    return {
        row: {"forward": min(a for a, _ in times), "both": min(b for _, b in times)}
        for row, times in found.items()
    }


def flex(length: int):
    """FlexAttention with the same window, compiled."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def met(batch, head, query, key):
        return (query >= key) & (query - key <= PEER_WINDOW)

    blocks = create_block_mask(met, None, None, length, length, device="cpu")
    compiled = torch.compile(flex_attention)
    return lambda *tensors: compiled(*tensors, block_mask=blocks)


def local_attention(length: int):
    """Build the local-attention package's layer, without positions; None where it is not there."""
    try:
        from local_attention import LocalAttention
    except ImportError as error:
        print(f"skipped: {error}; pip install --no-deps local-attention einops hyper-connections")
        return None
    return LocalAttention(
        dim=WIDTH,
        window_size=PEER_WINDOW,
        causal=True,
        look_backward=1,
        look_forward=0,
        exact_windowsize=True,
        use_rotary_pos_emb=False,
        autopad=True,
    )


PEER_WINDOW = 256
PEERS = {"flex": flex, "local-attention": local_attention}


def beside(peer: str, length: int, rounds: int = 5) -> None:
    """Print the times of a peer and ours, in turn, after their outputs were found equal."""
    theirs = PEERS[peer](length)
    if theirs is None:
        return
    window = Mask.window(PEER_WINDOW, 0)
    ways = {"qkv": lambda *tensors: qkv.attend(*tensors, mask=window).context, peer: theirs}
    backward = peer != "flex"
    tensors = [tensor.requires_grad_(backward) for tensor in inputs(length)]
    with torch.no_grad():
        ours, other = (way(*tensors) for way in ways.values())
    torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-4)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(once(way, tensors, backward=backward))
    for part, what in enumerate(("forward", "forward and backward")[: 1 + backward]):
        least = {name: min(times[part] for times in taken) for name, taken in found.items()}
        told = ", ".join(f"{name} {1e3 * seconds:,.0f} ms" for name, seconds in least.items())
        print(f"window(256, 0), {length:,}, {what}: {told}: {least[peer] / least['qkv']:.1f}x")


def peak(row: str, length: int) -> float:
    """MiB beyond the inputs at the peak of forward and backward, in a fresh process."""
    command = [sys.executable, __file__, "--peak", row, "--longest", str(length)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak(row: str, length: int) -> float:
    """The same, of this process."""
    small = inputs(256)
    runner(row, 256)(*small).sum().backward()  # what the first call ever allocates
    tensors = inputs(length)
    for tensor in tensors:
        tensor.grad = torch.zeros_like(tensor)
    run = runner(row, length)
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew here
    run(*tensors).sum().backward()
    return (status("VmHWM") - before) / 1024


def status(field: str) -> int:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


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
            lines.append(f"| {row} | {cells} | {slope(lengths, values):.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--longest", type=int, default=16384)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--peak", choices=ROWS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.peak:
        print(own_peak(given.peak, given.longest))
        return
    if given.peer:
        beside(given.peer, given.longest)
        return
    lengths = [n for n in (1024, 2048, 4096, 8192, 16384) if n <= given.longest]
    found = {}
    for length in lengths:
        rows = timed(length, rounds=2 if length > 4096 else 5)
        for row in ROWS:
            rows[row]["peak"] = peak(row, length)
        found[str(length)] = rows
        print(f"{length}: {json.dumps(rows)}", file=sys.stderr)
    print(table(lengths, found))
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
