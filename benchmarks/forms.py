"""Every score in every scope, against the same written by hand in eager torch.

    python benchmarks/forms.py [--threads 2] [--sizes step ...] [--scores dot ...]

float32. long: 1 x 512 x 512, width 256; batch: 64 x 30 x 30; step: 64 x 1 x 30 against prepared
keys, forward alone, as a decoder asks. Local windows reach D = 10 keys to each side. Told are
medians of runs in turn, after the outputs (and gradients) were compared, and the kernel.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from functools import partial

import torch
from rounds import agree, alternate
from torch import Tensor

import qkv
from qkv.attention.kernels import explain
from qkv.attention.work import both, step

SIZES = {"long": (1, 512, 512), "batch": (64, 30, 30), "step": (64, 1, 30)}
WIDTH, WINDOW = 256, 10
SCORES = ("dot", "general", "cosine", "location", "additive", "concat")
SCOPES = ("global", "local-m", "local-p")
TOLERANCE = 1e-3  # beside the largest number: gradients are sums of 2^18 terms of float32


def build(score: str, scope: str) -> qkv.Attention:
    """Return an attention whose windows lie all over the keys."""
    torch.manual_seed(0)
    made = qkv.scores.build(score, query_dim=WIDTH, key_dim=WIDTH, hidden=WIDTH)
    local = None
    if scope != "global":
        local = qkv.local.build(scope, query_dim=WIDTH, window=WINDOW)
    attention = qkv.Attention(score=made, local=local)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5 if parameter.dim() == 1 else WIDTH**-0.5)
    return attention


def energies(attention: qkv.Attention, query: Tensor, key: Tensor) -> Tensor:
    """As everyone writes them, from prepared keys."""
    score = attention.score
    kind = type(score).__name__
    if kind in ("Additive", "Concat"):
        return torch.tanh(score.to_hidden(query).unsqueeze(2) + key.unsqueeze(1)) @ score.v
    if kind == "Location":
        return query @ next(score.parameters())[: key.shape[1]].T
    if kind == "Cosine":
        query = torch.nn.functional.normalize(query, dim=-1)
    return query @ key.mT


def prepared(attention: qkv.Attention, key: Tensor) -> Tensor:
    """What a decoder does once."""
    kind = type(attention.score).__name__
    if kind == "Cosine":
        return torch.nn.functional.normalize(key, dim=-1)
    return key if kind == "Location" else attention.score.prepare(key)


def by_hand(attention: qkv.Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Eager torch; key: prepared."""
    found, local = energies(attention, query, key), attention.local
    if local is None:
        return torch.softmax(found, -1) @ value
    places = torch.arange(query.shape[1], dtype=torch.float32).expand(query.shape[:2])
    if isinstance(local, qkv.local.LocalP):
        hidden = torch.tanh(local.project_query(query))
        places = key.shape[1] * torch.sigmoid(hidden @ local.v)
    apart = torch.arange(key.shape[1]) - places.unsqueeze(-1)
    weights = torch.softmax(found.masked_fill(apart.abs() > WINDOW, -math.inf), -1)
    if isinstance(local, qkv.local.LocalP):
        weights = weights * torch.exp(-apart.square() / (2 * (WINDOW / 2) ** 2))
    return weights @ value


def kernel_of(attention: qkv.Attention, query: Tensor, key: Tensor, value: Tensor) -> str:
    """Return the kernel that runs."""
    ready = attention.prepare(key, value)
    if ready.table is not None and attention._tabled:
        return "table"
    slots, mask = attention._placed(query, key, None, None)
    return explain("auto", step(slots, query, ready, "context", both(None, mask))).kernel


def passes(way: Callable[..., Tensor], given: list[Tensor], backward: bool) -> list[Tensor]:
    """One forward pass, or one of each."""
    if not backward:
        with torch.no_grad():
            return [way(*given)]
    given = [tensor.requires_grad_() for tensor in given]
    out = way(*given)
    return [out, *torch.autograd.grad(out.square().sum(), given, materialize_grads=True)]


def ways_of(
    attention: qkv.Attention, size: str, given: list[Tensor], backward: bool
) -> dict[str, Callable[[], list[Tensor]]]:
    """By hand, and ours."""

    def whole(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return by_hand(attention, query, prepared(attention, key), value)

    hand: Callable[..., Tensor] = whole
    ours: Callable[..., Tensor] = lambda *some: attention(*some).context  # noqa: E731
    if size == "step":
        with torch.no_grad():
            ready = attention.prepare(*given[1:])
            key = prepared(attention, given[1])
        hand = lambda query, _, value: by_hand(attention, query, key, value)  # noqa: E731
        ours = lambda query, *_: attention.attend(query, ready).context  # noqa: E731
    found = {"by hand": hand, "qkv": ours}
    return {name: partial(passes, way, given, backward) for name, way in found.items()}


def row(score: str, scope: str, size: str, rounds: int) -> str:
    """Check and measure one form of one size."""
    batch, queries, keys = SIZES[size]
    attention = build(score, scope).eval()
    given = [torch.randn(batch, n, WIDTH) for n in (queries, keys, keys)]
    cells = []
    for backward in (False,) if size == "step" else (False, True):
        ways = ways_of(attention, size, given, backward)
        agree(ways, TOLERANCE)
        taken = alternate(ways, rounds, least=0.01)
        hand, ours = (1e3 * statistics.median(taken[name]) for name in ways)
        cells.append(f"{hand:.3g} | {ours:.3g} ({hand / ours:.1f}x)")
    with torch.no_grad():
        kernel = kernel_of(attention, *(tensor.detach() for tensor in given))
    return f"| {size} | {score} | {scope} | {kernel} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print rows of a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--scores", nargs="+", choices=SCORES, default=list(SCORES))
    parser.add_argument("--scopes", nargs="+", choices=SCOPES, default=list(SCOPES))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print("| size | score | scope | kernel | by hand, forward, ms | qkv | both passes | qkv |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in given.sizes:
        for score in given.scores:
            for scope in given.scopes:
                print(row(score, scope, size, given.rounds), flush=True)


if __name__ == "__main__":
    main()
