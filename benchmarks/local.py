"""Local attention against global as the source grows: time of forward and backward.

    python benchmarks/local.py [--threads 1] [--longest 8192]

B = 4, one head, d = 128, the general score, D = 10, as many queries as keys. The rows alternate;
told is the least of some runs, and T^k of the three longest. Local attention touches 2 D + 1 keys
a query: its time grows as T.
"""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch
from rounds import agree, alternate, slope

import qkv

WIDTH, WINDOW = 128, 10


def build(scope: str) -> qkv.Attention:
    """Return an attention of this scope."""
    local = None
    if scope != "global":
        local = qkv.local.build(scope, query_dim=WIDTH, window=WINDOW)
    return qkv.Attention(score=qkv.scores.General(WIDTH, WIDTH), local=local)


def both(attention: qkv.Attention, query: torch.Tensor, key: torch.Tensor) -> None:
    """Forward and backward."""
    attention(query, key).context.sum().backward()


def check(attention: qkv.Attention) -> None:
    """Refuse to measure what is not the dense computation."""
    query, key = torch.randn(1, 300, WIDTH), torch.randn(1, 300, WIDTH)
    kernels = ("reference", "auto")
    agree(
        {name: lambda name=name: [attention(query, key, kernel=name).context] for name in kernels},
        tolerance=1e-5,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--longest", type=int, default=8192)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    lengths = [n for n in (512, 1024, 2048, 4096, 8192) if n <= given.longest]
    rows = {scope: build(scope) for scope in ("global", *qkv.local.LOCALS)}
    times: dict[str, list[float]] = {scope: [] for scope in rows}
    for attention in rows.values():
        check(attention)
    for length in lengths:
        torch.manual_seed(0)
        query, key = (torch.randn(4, length, WIDTH, requires_grad=True) for _ in range(2))
        ways = {scope: partial(both, one, query, key) for scope, one in rows.items()}
        for scope, taken in alternate(ways, 3, least=0.0, clock=time.process_time).items():
            times[scope].append(min(taken))
    print(f"| scope, ms | {' | '.join(f'{n:,}' for n in lengths)} | grows as T^ |")
    print("| --- |" + " --- |" * (len(lengths) + 1))
    for scope, taken in times.items():
        cells = " | ".join(f"{1000 * value:,.0f}" for value in taken)
        print(f"| {scope} | {cells} | {slope(lengths[-3:], taken[-3:]):.2f} |")


if __name__ == "__main__":
    main()
