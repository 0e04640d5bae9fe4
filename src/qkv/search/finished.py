"""The finished hypotheses of a running search, and which sentences are done."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from qkv.search.scoring import Scoring
from qkv.search.strategies import Picked
from qkv.text import EOS


class Finished:
    """The `n_best` best finished hypotheses of each sentence so far, best first.

    A hypothesis is known by its score, its log p, and where it ended: the step and the slot. Of
    equal scores the one found first stays ahead. A free place has score -inf.

    limits: the longest output of each sentence, EOS counted.
    """

    def __init__(self, scoring: Scoring, limits: Int[Tensor, " sentences"], n_best: int) -> None:
        self.scoring = scoring
        self.limits = limits
        self.shortest = int(limits.min())
        self.found = False  # whether a hypothesis has ended, of any sentence
        self.scores = torch.full(
            (len(limits), n_best), -torch.inf, dtype=torch.float64, device=limits.device
        )
        self.log_probs = self.scores.clone()
        self.steps = torch.zeros_like(self.scores, dtype=torch.long)
        self.slots = self.steps.clone()

    def take(
        self,
        sentences: Int[Tensor, " batch"],
        picked: Picked,
        covered: Float[Tensor, "batch beams source"] | None,
        step: int,
    ) -> Bool[Tensor, " batch"] | None:
        """Set aside what ended in this step (from 0), and return which sentences go on.

        None: no hypothesis has ended yet, and all go on.

        A sentence goes on below its longest length, while the best score that one of its live
        hypotheses can reach exceeds that of its last place. At the longest length, if nothing has
        ended, the unfinished hypotheses are set aside instead.

        Raises:
            ValueError: a total is NaN.
        """
        length = step + 1
        # Lists: the numbers are few, and each operation on a tensor costs more than they do.
        total = sum(picked.totals.flatten().tolist())
        if math.isnan(total):
            raise ValueError(
                f"the model gives NaN in step {length}: its parameters or its inputs hold NaN or "
                "inf (did the training diverge?)"
            )
        started = self.found or length >= self.shortest
        if not started and EOS not in picked.tokens.flatten().tolist():
            if total > -math.inf:
                return None
            return picked.totals.amax(1) > -torch.inf  # what is said below, while none has ended
        ended = picked.tokens == EOS
        limits = self.limits[sentences]
        last = length >= limits
        scores = self.scoring.score(picked.totals, length, covered)
        self._offer(sentences, scores.masked_fill(~ended, -torch.inf), picked.totals, step)
        cut = last & (self.scores[sentences, 0] == -torch.inf)
        self._offer(sentences, scores.masked_fill(~cut[:, None], -torch.inf), picked.totals, step)
        live = picked.totals.masked_fill(ended, -torch.inf)
        reachable = self.scoring.bound(live, length, limits.double()).amax(1)
        return ~last & (reachable > self.scores[sentences, -1])

    def _offer(
        self,
        sentences: Int[Tensor, " batch"],
        scores: Float[Tensor, "batch beams"],
        log_probs: Float[Tensor, "batch beams"],
        step: int,
    ) -> None:
        """Keep the best of the old and the new; a new one of score -inf does not exist."""
        if not (scores > -torch.inf).any():
            return
        self.found = True
        places = self.scores.shape[1]
        slots = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        merged = torch.cat([self.scores[sentences], scores], dim=1)
        best, index = merged.sort(dim=1, descending=True, stable=True)
        self.scores[sentences] = best[:, :places]
        for held, new in (
            (self.log_probs, log_probs),
            (self.steps, torch.full_like(slots, step)),
            (self.slots, slots),
        ):
            both = torch.cat([held[sentences], new], dim=1)
            held[sentences] = both.gather(1, index[:, :places])
