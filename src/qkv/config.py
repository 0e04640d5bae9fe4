"""The configuration of a run: frozen dataclasses, read from TOML, every key checked.

No tensor library is imported here, so that `qkv train --help` answers at once.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES

_STRICT = ConfigDict(extra="forbid")


def _known(kind: str, name: str, allowed: dict[str, str]) -> None:
    """Refuse a name that no registry holds, and suggest the nearest one."""
    if name not in allowed:
        near = difflib.get_close_matches(name, allowed, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown {kind} {name!r}; allowed: {', '.join(allowed)}.{hint}")


@dataclass(frozen=True)
class AttentionConfig:
    """One attention: the slots of e = score(q, k), alpha = normalize(e), c = alpha v."""

    __pydantic_config__ = _STRICT

    score: str = "additive"
    """dot, scaled_dot, cosine, general, additive, concat, deep, or location (up to 512 keys)."""
    hidden: int = 0
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
    size: int = 8000
    """Most symbols kept, specials included; for subwords the model's size."""
    min_count: int = 1
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
    max_length: int = 200
    """Longest side of a training pair, in tokens; longer pairs are left out and counted."""
    tokens_per_batch: int = 4096
    """Padded tokens of the longer side in a batch, at most."""


@dataclass(frozen=True)
class RNNencConfig:
    """Encoder-decoder without attention: the last state is the context."""

    __pydantic_config__ = _STRICT

    kind: Literal["rnnenc"] = "rnnenc"
    """The model."""
    cell: Literal["rnn", "gru", "lstm"] = "gru"
    """The recurrent cell of both sides."""
    embedding: int = 256
    """Width of the embeddings."""
    hidden: int = 256
    """Width of the recurrent states (each direction)."""
    layers: int = 1
    """Depth of encoder and decoder."""
    bidirectional: bool = True
    """Read the source in both directions."""
    dropout: float = 0.1
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
    embedding: int = 256
    """Width of the embeddings (the paper: 620)."""
    hidden: int = 256
    """Width of the states, each direction (the paper: 1000)."""
    maxout: int = 256
    """Width of the maxout output layer (the paper: 500)."""
    layers: int = 1
    """Depth of the encoder (the paper: 1)."""
    dropout: float = 0.1
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
    embedding: int = 256
    """Width of the embeddings (the paper: 1000)."""
    hidden: int = 256
    """Width of the states (the paper: 1000)."""
    layers: int = 2
    """Depth of encoder and decoder (the paper: 4)."""
    bidirectional: bool = False
    """Read the source in both directions (the paper: one)."""
    dropout: float = 0.2
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
    width: int = 256
    """d_model."""
    heads: int = 4
    """Heads of every attention."""
    kv_heads: int = 0
    """Key and value heads, shared by groups of query heads; 0: as many as heads."""
    feedforward: int = 1024
    """Inner width of the feed-forward layers."""
    encoder_layers: int = 4
    """Depth of the encoder."""
    decoder_layers: int = 4
    """Depth of the decoder."""
    norm: Literal["pre", "post"] = "pre"
    """Layer norm before each sub-layer, or after it as in the paper."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """Sinusoids (grow on demand) or a learned table."""
    max_positions: int = 512
    """Size of the learned table; longer input is refused by name."""
    dropout: float = 0.1
    """On the embeddings and each sub-layer's output."""
    attention_dropout: float = 0.0
    """On the attention weights."""
    tie_embeddings: bool = True
    """One matrix for the target embedding and the output layer (all three if text.shared)."""
    alignment: str = "mean"
    """Cross-attention read as the alignment: mean (of the heads of the last layer), or layer.head."""


ModelConfig = Annotated[
    RNNencConfig | RNNsearchConfig | LuongConfig | TransformerConfig,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class TrainingConfig:
    """How the parameters are fitted."""

    __pydantic_config__ = _STRICT

    seed: int = 1
    """Fixes initialisation, data order and dropout."""
    epochs: int = 20
    """Passes over the training set, at most."""
    max_steps: int = 0
    """Updates, at most; 0: no limit. With a schedule that ends (cosine, linear): its length."""
    max_minutes: float = 0.0
    """Wall time, at most; 0: no limit."""
    optimizer: Literal["adam", "adamw", "adadelta", "sgd"] = "adam"
    """The optimiser (Bahdanau: adadelta; Luong: sgd; Vaswani: adam)."""
    learning_rate: float = 1e-3
    """The peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Adam's decay rates."""
    weight_decay: float = 0.0
    """Weight decay."""
    schedule: Literal["constant", "inverse_sqrt", "plateau", "cosine", "linear"] = "inverse_sqrt"
    """How the learning rate moves after the warm-up."""
    warmup: int = 500
    """Updates of linear warm-up."""
    patience: int = 0
    """Stop after this many evaluations without a better dev metric; 0: never."""
    plateau_factor: float = 0.5
    """plateau: multiply the rate by this after an evaluation without a better dev metric."""
    label_smoothing: float = 0.1
    """Share of the target probability spread over the vocabulary."""
    clip: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    accumulate: int = 1
    """Batches whose gradients make one update, over all processes."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the matrix products (autocast)."""
    evaluate_every: int = 0
    """Updates between evaluations; 0: at the end of each epoch."""
    checkpoint_every: int = 500
    """Updates between checkpoints; a killed run goes on from the last one."""
    average: int = 5
    """Last evaluations whose weights are averaged at the end; 1: none."""
    metric: Literal["loss", "bleu", "chrf", "wer", "per", "accuracy"] = "loss"
    """The dev metric that picks the best weights."""
    dev_limit: int = 500
    """Dev pairs decoded for a metric other than loss."""
    threads: int = 0
    """Torch's threads on a CPU; 0: torch's choice."""
    tensorboard: bool = False
    """Write TensorBoard events beside the JSON lines (an extra)."""


@dataclass(frozen=True)
class SearchConfig:
    """How an output is searched."""

    __pydantic_config__ = _STRICT

    method: Literal["beam", "greedy", "sample"] = "beam"
    """The search."""
    beam: int = 5
    """Hypotheses kept a step."""
    alpha: float = 1.0
    """Length penalty: score = log p / ((5 + n) / 6)^alpha (Wu et al. 2016, eq. 14)."""
    coverage: float = 0.0
    """Coverage penalty beta (Wu et al. 2016, eq. 14); 0: off."""
    temperature: float = 1.0
    """sample: divides the logits."""
    top_k: int = 0
    """sample: only the k likeliest tokens; 0: all."""
    top_p: float = 1.0
    """sample: only the likeliest tokens whose mass reaches p."""
    max_ratio: float = 3.0
    """Longest output: max_ratio * source tokens + max_extra."""
    max_extra: int = 10
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
    """The model, chosen by its kind: rnnenc, rnnsearch, luong or transformer."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """The search of evaluation and translation."""


def load_config(path: Path) -> Config:
    """Read a config from TOML, or from the JSON of a run folder.

    Raises:
        ValueError: the file cannot be read, or a key or value in it is wrong; all are named.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise ValueError(f"config {path} does not exist") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"config {path} cannot be read: {error}") from error
    return make_config(tree, origin=str(path))


def make_config(tree: dict[str, Any], *, origin: str = "config") -> Config:
    """Check a tree of plain values and return the config it describes.

    Raises:
        ValueError: names every unknown key, with the nearest known one, and every wrong value.
    """
    try:
        return TypeAdapter(Config).validate_python(tree)
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ValueError(f"{origin}: " + "; ".join(lines)) from error


def config_tree(config: Config) -> dict[str, Any]:
    """Return a config as plain values, as TOML or JSON hold them."""
    return asdict(config)


def known_keys() -> set[str]:
    """Return every key of every config, by its last name."""
    keys: set[str] = set()
    pending: list[Any] = [
        Config,
        *(RNNencConfig, RNNsearchConfig, LuongConfig, TransformerConfig),
        *(DataConfig, TextConfig, TokenizerConfig, AttentionConfig),
        *(TrainingConfig, SearchConfig),
    ]
    for kind in pending:
        keys |= set(kind.__dataclass_fields__)
    return keys


def _explain(problem: Any) -> str:
    """Say one of pydantic's findings in a line."""
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        near = difflib.get_close_matches(str(problem["loc"][-1]), known_keys(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {where}{hint}"
    given = "" if isinstance(problem["input"], dict) else f" (given: {problem['input']!r})"
    return f"{where}: {problem['msg']}{given}"
