"""Dense dot attention against torch's own called by hand: the price of the slots, and of weights.

    python benchmarks/dense.py [--threads 2] [--rounds 25] [--output FILE]

B = 4, H = 8, d = 64, float32, forward without gradients. Rows: qkv.attend open, with a causal
mask, and with lengths that are full, against scaled_dot_product_attention with what it has for
them; a decoding step with a cache; MultiHeadAttention against its four projections and the same
call, written by hand; and weights: of all, and of one head and eight queries, against the softmax
by hand. The ways of a row alternate; told are medians, and the median of the rounds' ratios.
Nothing is told if two outputs differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch
from rounds import agree, alternate
from torch.nn.functional import linear, scaled_dot_product_attention

import qkv
from qkv import Mask

BATCH, HEADS, WIDTH = 4, 8, 64


def tensors(queries: int, keys: int) -> list[torch.Tensor]:
    """Return query, key and value."""
    return [torch.randn(BATCH, HEADS, n, WIDTH) for n in (queries, keys, keys)]


def attention(length: int):
    """Yield each row's name, ours, and the call by hand."""
    given = tensors(length, length)
    causal, full = Mask.causal(), Mask.lengths(torch.full((BATCH,), length))
    plain = lambda: scaled_dot_product_attention(*given)  # noqa: E731
    triangle = lambda: scaled_dot_product_attention(*given, is_causal=True)  # noqa: E731
    yield "open", lambda: qkv.attend(*given).context, plain
    yield "lengths, all full", lambda: qkv.attend(*given, mask=full).context, plain
    yield "causal", lambda: qkv.attend(*given, mask=causal).context, triangle
    both = causal & full
    yield "causal & lengths", lambda: qkv.attend(*given, mask=both).context, triangle


def step(length: int):
    """Yield one decoding step with so many keys behind it."""
    given = tensors(1, length)
    causal, module = Mask.causal(length - 1), qkv.Attention()
    rows = module.prepare(*given[1:])
    plain = lambda: scaled_dot_product_attention(*given)  # noqa: E731
    yield "step, prepared", lambda: module.attend(given[0], rows).context, plain
    yield "step, causal", lambda: qkv.attend(*given, mask=causal).context, plain


def layer(length: int):
    """Yield a multi-head layer, and the same written by hand."""
    ours = qkv.MultiHeadAttention(HEADS * WIDTH, HEADS).eval()
    inputs = torch.randn(BATCH, length, HEADS * WIDTH)
    parts = ours.project_query, ours.project_key, ours.project_value, ours.project_context

    def by_hand() -> torch.Tensor:
        split = [
            linear(inputs, p.weight, p.bias).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
            for p in parts[:3]
        ]
        read = scaled_dot_product_attention(*split, is_causal=True).transpose(1, 2).flatten(2)
        return linear(read, parts[3].weight, parts[3].bias)

    causal = Mask.causal()
    yield "multi-head, causal", lambda: ours(inputs, mask=causal).context, by_hand


def weights(length: int):
    """Yield weights beside a context, and the context and the softmax by hand."""
    query, key, value = tensors(length, length)
    rows = list(range(0, length, length // 8))

    def by_hand(heads, chosen):
        scaled_dot_product_attention(query, key, value)
        return torch.softmax(query[:, heads][:, :, chosen] @ key[:, heads].mT / WIDTH**0.5, -1)

    every = slice(None)
    yield (
        "weights, all",
        lambda: qkv.attend(query, key, value, need="weights").weights,
        lambda: by_hand(every, every),
    )
    some = qkv.WeightsOf([3], rows)
    yield (
        "weights, 1 head, 8 queries",
        lambda: qkv.attend(query, key, value, need=some).weights,
        lambda: by_hand([3], rows),
    )


def compare(ours, theirs, rounds: int) -> tuple[float, float, float]:
    """Medians in microseconds, and the median of the rounds' ratios."""
    agree({"by hand": lambda: [theirs()], "qkv": lambda: [ours()]}, tolerance=1e-5)
    taken = alternate({"qkv": ours, "by hand": theirs}, rounds, least=0.005)
    ratio = statistics.median(a / b for a, b in zip(*taken.values(), strict=True))
    first, second = (1e6 * statistics.median(part) for part in taken.values())
    return first, second, ratio


@torch.inference_mode()
def main() -> None:
    """Measure, check, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 512, 2048])
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    found = []
    print("| length | what | qkv, us | by hand, us | qkv / by hand |\n|" + " --- |" * 5)
    for length in given.lengths:
        for rows in (attention, step, layer, weights):
            for name, ours, theirs in rows(length):
                mine, hand, ratio = compare(ours, theirs, given.rounds)
                found.append({"length": length, "row": name, "qkv": mine, "by hand": hand})
                print(
                    f"| {length} | {name} | {mine:,.0f} | {hand:,.0f} | {ratio:.3f} |", flush=True
                )
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
