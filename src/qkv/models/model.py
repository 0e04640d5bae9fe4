"""What every model is to training, and every encoder-decoder to search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar

from jaxtyping import Float, Int
from torch import Tensor, nn

from qkv.models.decoder import Decoder, SearchPlan, State, Step
from qkv.models.output import Output
from qkv.models.products import Precision, reduced
from qkv.nn.reinforce import Drawn

OwnState = TypeVar("OwnState", bound=State)


class Forced(NamedTuple):
    """A decoder's pass over given target tokens.

    features: what the output layer reads, [batch, time, features].
    attention: the rows of alignment, [batch, time, source], or None where the model has none or
        they were not asked for.
    drawn: what a loss must know where positions were drawn (a hard normaliser, in training).
    """

    features: Float[Tensor, "batch time features"]
    attention: Float[Tensor, "batch time source"] | None
    drawn: Drawn | None = None


class Model(nn.Module, ABC):
    """A model that is learned from pairs.

    predicts: what it says of a source: a sequence, a label, or tags (a label a token). That
        decides its loss, and which verbs it answers.
    attends: whether it has an attention that can be looked at.
    spelled: whether it reads the letters of words beside their ids.
    """

    predicts: ClassVar[Literal["sequence", "label", "tags"]]
    attends: bool
    spelled: bool = False

    def learn_symbols(self, source: Sequence[str]) -> None:
        """Take what must be known of the source vocabulary's symbols, once, before training."""


class EncoderDecoder(Model, Generic[OwnState]):
    """p(y | x) = prod_i p(y_i | y_<i, x).

    Two ways through the same parameters: `force` reads a whole known target (training, scoring,
    alignment), `start` and `step` extend unknown ones (search). Both give the same numbers.
    `output` is apart, so that a loss computes it for real tokens only. Its logits, normalised by a
    softmax, are p(y_i | y_<i, x), whatever the model summed over to get them.
    """

    predicts = "sequence"
    output: Output
    source_table: str = "encoder.embedding"
    """Which submodule embeds the source: it is called once, with the very ids that were given."""
    longest_target: int | None = None
    """Tokens that a target may have, the end symbol counted; None: any number."""

    @abstractmethod
    def force(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
        *,
        need_attention: bool = False,
    ) -> Forced:
        """Read `target`, from BOS on, and return the features that predict each next token."""

    @abstractmethod
    def start(
        self, source: Int[Tensor, "batch source"], lengths: Int[Tensor, " batch"]
    ) -> OwnState:
        """Encode the sources; the state holds one empty hypothesis for each."""

    @abstractmethod
    def step(self, tokens: Int[Tensor, "batch beams"], state: OwnState) -> Step:
        """Append a token to every hypothesis and return the distribution of the next one."""

    def ready(self, precision: Precision = "float32") -> Decoder:
        """Return what search asks, with these parameters: the model, or what is faster there.

        precision: of the matrix products; float32 is that of the parameters. Some parameters are
        copied: after the model has learned more, call it again.
        """
        return reduced(self, precision)

    def search_plan(self, precision: Precision = "float32") -> SearchPlan:
        """Say which way `ready` takes here, and why."""
        return SearchPlan("model", f"the model's own step, {precision} products")

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time vocabulary"]:
        """Return the logits of each next token."""
        logits: Tensor = self.output(self.force(source, lengths, target).features)
        return logits
