"""What search asks of a model: start, then one step at a time.

A batch holds B sentences with K hypotheses each. A model keeps what it needs in a `State`, a
value; search decides which hypotheses go on.
Greedy search, beam search and sampling need nothing else, so every model serves all three.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


class State(Protocol):
    """All that a decoder remembers of the hypotheses of a batch. A value: nothing changes it."""

    def select(
        self,
        sentences: Int[Tensor, " kept"],
        beams: Int[Tensor, "kept beams"],
    ) -> State:
        """Return the state of the hypotheses that go on.

        sentences: the rows of the batch that stay; the others are finished.
        beams: for each kept sentence, which of its hypotheses each new one continues. One may be
            continued many times or never, and their number may change: K = 1 after `start`.
        """
        ...


class Step(NamedTuple):
    """The distribution of the next token of every hypothesis.

    log_probs: log p(y_i | y_<i, x), normalised over the whole vocabulary.
    state: the hypotheses with `tokens` read.
    attention: this step's row of alignment, already reduced over layers and heads by the model,
        zero on padding; None for a model without attention.
    """

    log_probs: Float[Tensor, "batch beams vocabulary"]
    state: State
    attention: Float[Tensor, "batch beams source"] | None


class Best(NamedTuple):
    """The likeliest next token of every hypothesis, of those that a text may have.

    These are all but PAD and BOS. state, attention: see `Step`.
    """

    log_probs: Float[Tensor, "batch beams"]
    tokens: Int[Tensor, "batch beams"]
    state: State
    attention: Float[Tensor, "batch beams source"] | None


class SearchPlan(NamedTuple):
    """Which of the ways that give the same numbers a search takes, and why.

    path: "compiled" (one call of compiled loops a step), "laid out" (torch, parameters laid out
    for search), "model" (its own step).
    """

    path: Literal["compiled", "laid out", "model"]
    reason: str

    def __str__(self) -> str:
        return f"search {self.path}: {self.reason}"


class Decoder(Protocol):
    """A model that can be searched."""

    def start(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
    ) -> State:
        """Read the sources (ids that end with EOS, then pads) and hold one empty hypothesis each.

        lengths: the true length of each source, its EOS counted.
        """
        ...

    def step(self, tokens: Int[Tensor, "batch beams"], state: Any) -> Step:
        """Read the last token of every hypothesis (BOS at first) and predict the next one.

        state: what this decoder's own `start`, `step` or a selection returned.
        """
        ...


@runtime_checkable
class GreedyDecoder(Decoder, Protocol):
    """A decoder that finds the likeliest token for less than all log-probabilities cost."""

    def best(self, tokens: Int[Tensor, "batch beams"], state: Any) -> Best:
        """Read what `step` reads, and say what greedy search wants to know of it."""
        ...
