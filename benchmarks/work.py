"""How much work a model is: what the limit of a row is computed from.

Counted are the products with its weights: each weight matrix meets each token of its side once,
one multiply-add a number, and twice more backward. Attention's own products are left out (a
fiftieth at these lengths), and so are pads, dropout and the optimiser: a limit is what nobody can
be faster than, not a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
OF_SOURCE = ("encoder.", "cross_attention.project_key", "cross_attention.project_value",
             "attention.score.project_key")  # fmt: skip


def weights(model: nn.Module) -> dict[str, int]:
    """Return how many numbers of the weight matrices meet each source and each target token."""
    found = {"source": 0, "target": 0}
    tied = True
    for name, weight in model.named_parameters():
        if weight.dim() < 2 or "embedding" in name:
            continue
        tied &= not name.startswith("output.")
        found["source" if any(part in name for part in OF_SOURCE) else "target"] += weight.numel()
    if tied:  # the output layer is the embedding
        found["target"] += next(
            weight.numel() for name, weight in model.named_parameters() if "embedding" in name
        )
    return found


def of_training(matrices: Mapping[str, int], source: float, target: float, kind: str) -> dict:
    """Return what a target token costs; source and target are the mean lengths."""
    adds = matrices["source"] * source / target + matrices["target"]
    return {f"products {kind}": 3 * 2 * adds}


def of_search(
    matrices: Mapping[str, int], source: float, asked: Mapping[str, int], kind: str
) -> dict:
    """Return what a sentence costs.

    The decoder's weights are read once a step for all sentences of a batch.

    asked: batch, beam, and length, the tokens that are written.
    """
    batch, beam, length = asked["batch"], asked["beam"], asked["length"]
    adds = matrices["source"] * source + matrices["target"] * length * beam
    read = (matrices["source"] + matrices["target"] * length) * BYTES[kind] / batch
    return {f"products {kind}": 2 * adds, "bytes read": read}


def limit(costs: Mapping[str, float], rates: Mapping[str, float]) -> dict:
    """Return the rate at which the machine would do the costliest part, and its name."""
    bound = max(costs, key=lambda name: costs[name] / rates[name])
    return {"limit": rates[bound] / costs[bound], "bound": bound}
