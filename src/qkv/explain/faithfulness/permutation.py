"""Weights that change places (Jain and Wallace 2019, algorithm 2).

    d = median over 100 permutations pi of TVD(y(h, pi(alpha)), y(h, alpha))

If the output hardly moves, it hardly mattered which position had which weight.

Differs from the paper: every position that the model reads takes part, marks of begin and end too,
so that weight on a mark cannot hide.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from qkv.explain.faithfulness.distances import tvd
from qkv.explain.faithfulness.finding import (
    Estimate,
    Finding,
    Reading,
    by_sharpness,
    estimate,
)
from qkv.explain.faithfulness.material import Material, Tell
from qkv.explain.faithfulness.subject import Floats, Subject, softmax

Weights = Float[Tensor, "batch time"]


def test(material: Material, tell: Tell) -> list[Finding]:
    """Permute the weights of every example."""
    subject, settings = material.subject, material.settings
    moved = np.zeros((settings.permutations, len(subject)))
    flipped = np.zeros(len(subject))
    drawn = np.zeros_like(moved)
    done = 0
    for rows, number, permuted, flips, random in _outputs(subject, settings.permutations):
        moved[number, rows], drawn[number, rows] = permuted, random
        flipped[rows] += flips / settings.permutations
        if number + 1 == settings.permutations:
            done += len(rows)
            tell(done / len(subject), f"permutations of {done:,} examples")
    values, random = np.median(moved, 0), np.median(drawn, 0)
    value, baseline = estimate(values, subject.seed), estimate(random, subject.seed)
    scale = estimate(exchanged(subject), subject.seed)
    reading, says = read(value, baseline, scale, settings.epsilon)
    facts = {
        "permutations": settings.permutations,
        "share_of_decisions_flipped": estimate(flipped, subject.seed).json(),
        "to_another_example": scale.json(),
        "by_largest_weight": by_sharpness(subject.sharpest, values),
    }
    return [
        Finding(
            "permutation", "median TVD of the output when the weights are permuted", value,
            baseline, "weights drawn at random", reading, says, values, random, (0.0, 1.0), facts,
        )
    ]  # fmt: skip


def read(
    value: Estimate, random: Estimate, scale: Estimate, epsilon: float
) -> tuple[Reading, str]:
    """Say what a mean change means, beside that by random weights and to another's output.

    Weights that are nearly equal may change places without effect although the output depends on
    them: only if random weights do not move it either, it does not.
    """
    if value.high <= epsilon and random.high <= epsilon:
        return "against", (
            f"Neither permuted nor random weights move the output by more than {epsilon:g}: it "
            "does not depend on them."
        )
    if value.high <= epsilon:
        return "open", (
            f"The weights are so even that they may change places: the output moves by no more "
            f"than {epsilon:g}, though random weights move it by {random.mean:.3f}."
        )
    share = value.mean / scale.mean if scale.mean else float("inf")
    moves = (
        f"Permuted weights move the output by {value.mean:.3f} on average, {share:.0%} of the way "
        "to another example's output"
    )
    if value.low >= scale.high / 2:
        return "for", f"{moves}: it depends on the weights."
    return "open", f"{moves}: it depends on the weights in part."


def exchanged(subject: Subject) -> Floats:
    """Return how far each output is from that of another example: how far outputs can move."""
    outputs = torch.from_numpy(subject.seen.probabilities)
    order = torch.randperm(len(subject), generator=subject.draws("exchange"))
    return tvd(outputs[order], outputs[order.roll(1)]).numpy()


def permuted(
    weights: Weights, real: Bool[Tensor, "batch time"], draws: torch.Generator
) -> Weights:
    """Shuffle each row's weights over its real positions."""
    keys = torch.rand(weights.shape, generator=draws).to(weights.device)
    order = keys.masked_fill(~real, 2.0).argsort(1)
    found = torch.zeros_like(weights)
    # The positions in order of their keys come first, the pads last; both sides count alike.
    return found.copy_(weights.gather(1, order)).masked_fill(~real, 0.0)


def random_weights(real: Bool[Tensor, "batch time"], draws: torch.Generator) -> Weights:
    """Draw weights evenly from all that sum to 1 (a flat Dirichlet)."""
    drawn = torch.empty(real.shape).exponential_(generator=draws).to(real.device)
    drawn = drawn.masked_fill(~real, 0.0)
    return drawn / drawn.sum(1, keepdim=True)


def _outputs(
    subject: Subject, permutations: int
) -> Iterator[tuple[list[int], int, Floats, Floats, Floats]]:
    """Give, for a batch and a permutation: TVD, flipped decisions, TVD of random weights."""
    model = subject.model
    with torch.no_grad():
        for batch in subject.batches():
            draws = subject.draws("permutation", batch.rows[0])
            annotations = model.annotate(model.embed(batch.tokens), batch.lengths)
            own = model.decide(annotations, batch.lengths)
            before = softmax(own)
            for number in range(permutations):
                weights = permuted(own.attention, batch.real, draws)
                after = softmax(model.decide(annotations, batch.lengths, weights))
                weights = random_weights(batch.real, draws).to(own.attention.dtype)
                other = softmax(model.decide(annotations, batch.lengths, weights))
                flips = (after.argmax(1) != before.argmax(1)).cpu().double().numpy()
                yield (
                    batch.rows, number, tvd(after, before).cpu().double().numpy(), flips,
                    tvd(other, before).cpu().double().numpy(),
                )  # fmt: skip
