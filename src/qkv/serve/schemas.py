"""What requests and answers hold; OpenAPI says the same."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Rows = list[list[float]]


class Asked(BaseModel):
    """What every request may hold."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        None, description="its name in /models; none: the first that answers here"
    )


class TranslateRequest(Asked):
    """Texts to translate."""

    text: str | list[str] = Field(description="a text, or a list of texts")
    n_best: int = Field(1, ge=1, description="outputs a text")
    method: Literal["beam", "greedy", "sample"] | None = Field(
        None, description="how to search; none: as the model's own config says"
    )
    beam: int | None = Field(None, ge=1, description="hypotheses kept a step")
    attention: bool = Field(False, description="give the attention of each output")
    stream: bool = Field(
        False, description="answer one JSON line a text, in the order asked, each when it is done"
    )


class LabelRequest(Asked):
    """Texts to label, or whose words to label."""

    text: str | list[str] = Field(description="a text, or a list of texts")
    attention: bool = Field(False, description="give the attention over each text's words")


class ViewRequest(Asked):
    """A text that the page shows, with what a model makes of it."""

    text: str


class AlignRequest(Asked):
    """Pairs to align; the model reads the given target."""

    source: str | list[str]
    target: str | list[str]
    units: Literal["words", "tokens"] = "words"
    method: Literal["argmax", "argmax-source", "mutual", "threshold"] = "argmax"
    threshold: float = Field(0.5, gt=0, le=1, description="of method threshold")


class AttentionRequest(Asked):
    """One pair whose attention is looked at; without a target, the model's own output is."""

    source: str
    target: str | None = None
    kind: str | None = Field(None, description="which attention, as listed; none: the list")
    layer: int = Field(-1, description="which layer, from 0; negative: from the last")
    head: int | None = Field(None, ge=0, description="which head, from 0; none: their mean")


class Token(BaseModel):
    """A token and where it stands in the text, in characters; the end symbol stands nowhere."""

    text: str
    start: int | None
    end: int | None


class Output(BaseModel):
    """One output of a text."""

    text: str
    log_prob: float
    score: float
    truncated: bool
    tokens: list[str]
    attention: Rows | None = None


class Translated(BaseModel):
    """A text, and its outputs, best first."""

    index: int
    source: str
    source_tokens: list[Token]
    outputs: list[Output]


class TranslateAnswer(BaseModel):
    """The texts in the order asked."""

    model: str
    results: list[Translated]


class Classified(BaseModel):
    """A text, its label, and how probable each label is, the most probable first.

    attention: a weight a token.
    """

    index: int
    source: str
    source_tokens: list[Token]
    label: str
    probability: float
    probabilities: dict[str, float]
    attention: list[float] | None = None


class ClassifyAnswer(BaseModel):
    """The texts in the order asked."""

    model: str
    results: list[Classified]


class TaggedText(BaseModel):
    """A text, and the label of each of its words, with how probable it is.

    attention: a row a word: what it read of the text.
    """

    index: int
    source: str
    source_tokens: list[Token]
    tags: list[str]
    probabilities: list[float]
    attention: Rows | None = None


class TagAnswer(BaseModel):
    """The texts in the order asked."""

    model: str
    results: list[TaggedText]


class Link(BaseModel):
    """Source unit `source` belongs to target unit `target`, both from 0."""

    source: int
    target: int
    weight: float


class Aligned(BaseModel):
    """A pair, aligned."""

    source: list[Token]
    target: list[Token]
    links: list[Link]
    pharaoh: str


class AlignAnswer(BaseModel):
    """The pairs in the order asked."""

    model: str
    results: list[Aligned]


class AttentionKind(BaseModel):
    """One kind of attention of a model, such as cross-attention."""

    kind: str
    layers: int
    heads: int


class AttentionAnswer(BaseModel):
    """The attentions there are and, if one was named, its weights: a row a target token."""

    model: str
    target: str
    attentions: list[AttentionKind]
    kind: str | None = None
    layer: int | None = None
    head: int | None = None
    rows: list[str] = []
    columns: list[str] = []
    weights: Rows | None = None


class ModelFacts(BaseModel):
    """What a model is, and what it can be asked.

    gives: what it answers with, in words. answers: the paths at which it may be asked. labels: all
    that it can give; none: it gives texts.
    """

    name: str
    kind: str
    gives: str
    answers: list[str]
    labels: list[str] | None = None
    parameters: int
    source_vocabulary: int
    target_vocabulary: int
    attends: bool


class Models(BaseModel):
    """All that this server has; where none is named, the first that answers there is asked."""

    models: list[ModelFacts]


class Health(BaseModel):
    """Whether it answers; "draining": it takes no new work."""

    status: Literal["ok", "draining"]
    waiting: int


class Problem(BaseModel):
    """What went wrong."""

    code: str
    message: str
    limit: float | None = None


class Failure(BaseModel):
    """The form of every error."""

    error: Problem
