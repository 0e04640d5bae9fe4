"""The configuration of a run: frozen dataclasses; `configfile` reads them and checks every key.

No tensor library is imported here, so that `qkv train --help` answers at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES
from qkv.spelling import did_you_mean

_STRICT = ConfigDict(extra="forbid", strict=True)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]


def _known(kind: str, name: str, allowed: dict[str, str]) -> None:
    """Refuse a name that no registry holds, and suggest the nearest one."""
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise ValueError(f"unknown {kind} {name!r}; allowed: {', '.join(allowed)}.{hint}")


@dataclass(frozen=True)
class AttentionConfig:
    """One attention: the slots of e = score(q, k), alpha = normalize(e), c = alpha v."""

    __pydantic_config__ = _STRICT

    score: str = "additive"
    """dot, scaled_dot, cosine, general, additive, concat, deep, or location (up to 512 keys)."""
    hidden: Natural = 0
    """Width of the additive, concat and deep scores; 0 takes the decoder's width."""
    normalizer: str = "softmax"
    """softmax, sparsemax, entmax or sigmoid."""

    def __post_init__(self) -> None:
        _known("score", self.score, SCORES)
        _known("normalizer", self.normalizer, NORMALIZERS)


@dataclass(frozen=True)
class TokenizerConfig:
    """How one side's text becomes tokens."""

    __pydantic_config__ = _STRICT

    kind: Literal["characters", "words", "bpe", "unigram"] = "bpe"
    """characters, whitespace words, or sentencepiece subwords (bpe, unigram)."""
    size: Count = 8000
    """Most symbols kept, specials included; for subwords the model's size."""
    min_count: Count = 1
    """Words and characters seen less often become the unknown symbol."""
    lowercase: bool = False
    """Lower-case the text before cutting it; spans still point into the original."""


@dataclass(frozen=True)
class TextConfig:
    """The two sides' tokenisers."""

    __pydantic_config__ = _STRICT

    source: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The source side."""
    target: TokenizerConfig = field(default_factory=TokenizerConfig)
    """The target side."""
    shared: bool = False
    """One tokeniser and vocabulary for both sides (needed to tie their embeddings)."""

    def __post_init__(self) -> None:
        if self.shared and self.source != self.target:
            raise ValueError(
                "text.shared = true, but text.source and text.target differ; "
                "give both the same settings, or set text.shared = false"
            )


@dataclass(frozen=True)
class DataConfig:
    """Where the pairs come from: a named corpus, or files."""

    __pydantic_config__ = _STRICT

    corpus: str = ""
    """A named corpus (`qkv data` lists them); empty: the files below."""
    directory: str = ""
    """The folder of a named corpus that ships with no package."""
    source: str = ""
    """A named corpus of several languages: the source language, such as en."""
    target: str = ""
    """A named corpus of several languages: the target language, such as de."""
    train: tuple[str, ...] = ()
    """One TSV (source, tab, target), or two parallel files; .gz and .xz are read as they are."""
    dev: tuple[str, ...] = ()
    """The same for the development set."""
    test: tuple[str, ...] = ()
    """The same for the test set."""
    invalid: Literal["refuse", "skip"] = "refuse"
    """A malformed or empty line: refuse the file, or skip the line; both report it."""
    max_length: Count = 200
    """Longest side of a training pair, in tokens; longer pairs are left out and counted."""
    tokens_per_batch: Count = 4096
    """Padded tokens of the longer side in a batch, at most."""


@dataclass(frozen=True)
class RNNencConfig:
    """Encoder-decoder without attention: the last state is the context."""

    __pydantic_config__ = _STRICT

    kind: Literal["rnnenc"] = "rnnenc"
    """The model."""
    cell: Literal["rnn", "gru", "lstm"] = "gru"
    """The recurrent cell of both sides."""
    embedding: Count = 256
    """Width of the embeddings."""
    hidden: Count = 256
    """Width of the recurrent states (each direction)."""
    layers: Count = 1
    """Depth of encoder and decoder."""
    bidirectional: bool = True
    """Read the source in both directions."""
    dropout: Share = 0.1
    """On the embeddings, between layers and before the output layer."""
    tie_embeddings: bool = False
    """One matrix for the target embedding and the output layer."""


@dataclass(frozen=True)
class RNNsearchConfig:
    """Bahdanau, Cho and Bengio 2015: attention from the previous decoder state."""

    __pydantic_config__ = _STRICT

    kind: Literal["rnnsearch"] = "rnnsearch"
    """The model."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    """Any attention; the paper's is additive."""
    embedding: Count = 256
    """Width of the embeddings (the paper: 620)."""
    hidden: Count = 256
    """Width of the states, each direction (the paper: 1000)."""
    maxout: Count = 256
    """Width of the maxout output layer (the paper: 500)."""
    layers: Count = 1
    """Depth of the encoder (the paper: 1)."""
    dropout: Share = 0.1
    """On the embeddings, the annotations and before the output layer (the paper: none)."""
    tie_embeddings: bool = False
    """One matrix for the target embedding and the output layer."""


@dataclass(frozen=True)
class LuongConfig:
    """Luong, Pham and Manning 2015: attention from the current decoder state."""

    __pydantic_config__ = _STRICT

    kind: Literal["luong"] = "luong"
    """The model."""
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(score="general"))
    """Any attention; the paper's are dot, general and concat."""
    input_feeding: bool = True
    """Give the attentional vector to the next step (section 3.3)."""
    embedding: Count = 256
    """Width of the embeddings (the paper: 1000)."""
    hidden: Count = 256
    """Width of the states (the paper: 1000)."""
    layers: Count = 2
    """Depth of encoder and decoder (the paper: 4)."""
    bidirectional: bool = False
    """Read the source in both directions (the paper: one)."""
    dropout: Share = 0.2
    """Between layers, on the embeddings and before the output layer."""
    tie_embeddings: bool = False
    """One matrix for the target embedding and the output layer."""


@dataclass(frozen=True)
class TransformerConfig:
    """Vaswani et al. 2017."""

    __pydantic_config__ = _STRICT

    kind: Literal["transformer"] = "transformer"
    """The model."""
    encoder_attention: AttentionConfig = field(
        default_factory=lambda: AttentionConfig(score="scaled_dot")
    )
    """Self-attention of the encoder."""
    decoder_attention: AttentionConfig = field(
        default_factory=lambda: AttentionConfig(score="scaled_dot")
    )
    """Masked self-attention of the decoder."""
    cross_attention: AttentionConfig = field(
        default_factory=lambda: AttentionConfig(score="scaled_dot")
    )
    """Attention of the decoder to the encoder."""
    width: Count = 256
    """d_model."""
    heads: Count = 4
    """Heads of every attention."""
    kv_heads: Natural = 0
    """Key and value heads, shared by groups of query heads; 0: as many as heads."""
    feedforward: Count = 1024
    """Inner width of the feed-forward layers."""
    encoder_layers: Count = 4
    """Depth of the encoder."""
    decoder_layers: Count = 4
    """Depth of the decoder."""
    norm: Literal["pre", "post"] = "pre"
    """Layer norm before each sub-layer, or after it as in the paper."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """Sinusoids (grow on demand) or a learned table."""
    max_positions: Count = 512
    """Size of the learned table; longer input is refused by name."""
    dropout: Share = 0.1
    """On the embeddings and each sub-layer's output."""
    attention_dropout: Share = 0.0
    """On the attention weights."""
    tie_embeddings: bool = True
    """One matrix for the target embedding and the output layer (all three if text.shared)."""
    alignment: str = "mean"
    """Cross-attention read as the alignment: mean (of the last layer's heads), or layer.head."""


@dataclass(frozen=True)
class NTMConfig:
    """Graves, Wayne and Danihelka 2014: a controller with a memory that it reads and writes."""

    __pydantic_config__ = _STRICT

    kind: Literal["ntm"] = "ntm"
    """The model."""
    controller: Literal["lstm", "feedforward"] = "lstm"
    """What drives the heads."""
    embedding: Count = 64
    """Width of the embeddings."""
    hidden: Count = 100
    """Width of the controller (the paper: 100)."""
    slots: Count = 128
    """Vectors in the memory (the paper: 128)."""
    slot_width: Count = 20
    """Width of each (the paper: 20)."""
    read_heads: Count = 1
    """Heads that read (the paper: 1; 4 for associative recall without an LSTM)."""
    write_heads: Count = 1
    """Heads that erase and add."""
    max_shift: Natural = 1
    """How many slots a head may go up or down in a step."""
    dropout: Share = 0.0
    """On the embeddings and before the output layer."""
    tie_embeddings: bool = False
    """One matrix for the target embedding and the output layer."""


AnyModelConfig = RNNencConfig | RNNsearchConfig | LuongConfig | TransformerConfig | NTMConfig
ModelConfig = Annotated[AnyModelConfig, Field(discriminator="kind")]

MODEL_CONFIGS: dict[str, type[AnyModelConfig]] = {
    "rnnenc": RNNencConfig,
    "rnnsearch": RNNsearchConfig,
    "luong": LuongConfig,
    "transformer": TransformerConfig,
    "ntm": NTMConfig,
}


@dataclass(frozen=True)
class TrainingConfig:
    """How the parameters are fitted."""

    __pydantic_config__ = _STRICT

    seed: int = 1
    """Fixes initialisation, data order and dropout."""
    epochs: Count = 20
    """Passes over the training set, at most."""
    max_steps: Natural = 0
    """Updates, at most; 0: no limit. With a schedule that ends (cosine, linear): its length."""
    max_minutes: Amount = 0.0
    """Wall time, at most; 0: no limit."""
    optimizer: Literal["adam", "adamw", "adadelta", "sgd"] = "adam"
    """The optimiser (Bahdanau: adadelta; Luong: sgd; Vaswani: adam)."""
    learning_rate: Positive = 1e-3
    """The peak learning rate."""
    betas: tuple[Share, Share] = (0.9, 0.98)
    """Adam's decay rates."""
    weight_decay: Amount = 0.0
    """Weight decay."""
    schedule: Literal["constant", "inverse_sqrt", "plateau", "cosine", "linear"] = "inverse_sqrt"
    """How the learning rate moves after the warm-up."""
    warmup: Natural = 500
    """Updates of linear warm-up."""
    patience: Natural = 0
    """Stop after this many evaluations without a better dev metric; 0: never."""
    plateau_factor: Fraction = 0.5
    """plateau: multiply the rate by this after an evaluation without a better dev metric."""
    label_smoothing: Share = 0.1
    """Share of the target probability spread over the vocabulary."""
    clip: Amount = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    accumulate: Count = 1
    """Batches whose gradients make one update, over all processes."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the matrix products (autocast)."""
    evaluate_every: Natural = 0
    """Updates between evaluations; 0: at the end of each epoch."""
    checkpoint_every: Count = 500
    """Updates between checkpoints; a killed run goes on from the last one."""
    average: Count = 5
    """Last evaluations whose weights are averaged at the end; 1: none."""
    metric: Literal["loss", "bleu", "chrf", "wer", "per", "accuracy"] = "loss"
    """The dev metric that picks the best weights."""
    dev_limit: Count = 500
    """Dev pairs decoded for a metric other than loss."""
    threads: Natural = 0
    """Torch's threads on a CPU; 0: torch's choice."""
    tensorboard: bool = False
    """Write TensorBoard events beside the JSON lines (an extra)."""


@dataclass(frozen=True)
class SearchConfig:
    """How an output is searched."""

    __pydantic_config__ = _STRICT

    method: Literal["beam", "greedy", "sample"] = "beam"
    """The search."""
    beam: Count = 5
    """Hypotheses kept a step."""
    alpha: Real = 1.0
    """Length penalty: score = log p / ((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14)."""
    coverage: Amount = 0.0
    """Coverage penalty beta (Wu et al. 2016, eq. 14); 0: off."""
    temperature: Positive = 1.0
    """sample: divides the logits."""
    top_k: Natural = 0
    """sample: only the k likeliest tokens; 0: all."""
    top_p: Fraction = 1.0
    """sample: only the likeliest tokens whose mass reaches p."""
    max_ratio: Amount = 3.0
    """Longest output: max_ratio * source tokens + max_extra."""
    max_extra: Natural = 10
    """See max_ratio."""
    seed: int = 1
    """sample: fixes the draws."""


@dataclass(frozen=True)
class Config:
    """All of a run."""

    __pydantic_config__ = _STRICT

    data: DataConfig = field(default_factory=DataConfig)
    """The pairs."""
    text: TextConfig = field(default_factory=TextConfig)
    """The tokenisers."""
    model: ModelConfig = field(default_factory=RNNsearchConfig)
    """The model, chosen by its kind: rnnenc, rnnsearch, luong, transformer or ntm."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """The search of evaluation and translation."""

    def __post_init__(self) -> None:
        model = self.model
        if model.kind == "transformer" and model.positions == "learned":
            longest = self.data.max_length + 1  # and the end symbol
            if longest > model.max_positions:
                raise ValueError(
                    f"data.max_length = {self.data.max_length} and the end symbol need {longest} "
                    f"positions, but model.max_positions = {model.max_positions}; raise it, lower "
                    'data.max_length, or set model.positions = "sinusoidal"'
                )
