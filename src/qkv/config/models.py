"""The models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from qkv.config.attention import AttentionConfig
from qkv.config.kinds import STRICT, Count, Natural, Share
from qkv.config.labellers import METRICS, ClassifierConfig, HierarchicalConfig, TaggerConfig
from qkv.config.slots import of_a_recurrent_model


@dataclass(frozen=True)
class RNNencConfig:
    """Encoder-decoder without attention: the last state is the context."""

    __pydantic_config__ = STRICT

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

    __pydantic_config__ = STRICT

    kind: Literal["rnnsearch"] = "rnnsearch"
    """The model."""
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    """Any attention; the paper's is additive."""
    embedding: Count = 256
    """Width of the embeddings (the paper: 620)."""
    hidden: Count = 256
    """Width of the states, each direction (the paper: 1000)."""
    encoder_hidden: Natural = 0
    """Width of each direction of the encoder; 0: that of the states, as in the paper."""
    maxout: Count = 256
    """Width of the maxout output layer (the paper: 500)."""
    layers: Count = 1
    """Depth of the encoder (the paper: 1)."""
    dropout: Share = 0.1
    """On the embeddings, the annotations and before the output layer (the paper: none)."""
    tie_embeddings: bool = False
    """One matrix for the target embedding and the output layer."""

    def __post_init__(self) -> None:
        of_a_recurrent_model(self.attention)


@dataclass(frozen=True)
class LuongConfig:
    """Luong, Pham and Manning 2015: attention from the current decoder state."""

    __pydantic_config__ = STRICT

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

    def __post_init__(self) -> None:
        of_a_recurrent_model(self.attention)


@dataclass(frozen=True)
class TransformerConfig:
    """Vaswani et al. 2017."""

    __pydantic_config__ = STRICT

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
    positions: Literal["sinusoidal", "learned", "rotary", "none"] = "sinusoidal"
    """Sinusoids (grow on demand) or a learned table, added to the embeddings; rotary, which turns
    query and key of the self-attentions; none, for a bias on positions, or none at all."""
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

    def __post_init__(self) -> None:
        for name in ("encoder_attention", "decoder_attention", "cross_attention"):
            if getattr(self, name).normalizer == "hard":
                raise ValueError(
                    f'model.{name}.normalizer = "hard" needs REINFORCE, which a Transformer does '
                    'not have; take "gumbel", or model.kind = "rnnsearch" or "luong"'
                )
            layers = self.encoder_layers if name == "encoder_attention" else self.decoder_layers
            scores = getattr(self, name).layer_scores
            if scores and len(scores) != layers:
                raise ValueError(
                    f"model.{name}.layer_scores names {len(scores)} scores for {layers} layers; "
                    "name one for each, or none and set score"
                )
        if self.decoder_attention.scope == "local-p":
            raise ValueError(
                'model.decoder_attention.scope = "local-p" points into a sequence by its length, '
                'which a decoder does not know; take "local-m"'
            )
        if self.cross_attention.bias != "none":
            raise ValueError(
                f'model.cross_attention.bias = "{self.cross_attention.bias}" compares places of '
                "two sequences; set it in encoder_attention and decoder_attention"
            )


@dataclass(frozen=True)
class HardConfig:
    """Wu, Shapiro and Cotterell 2018, Wu and Cotterell 2019: one position a step, summed over.

    A batch holds target x source x vocabulary numbers a sentence: for characters and the like.
    """

    __pydantic_config__ = STRICT

    kind: Literal["hard"] = "hard"
    """The model."""
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig(score="general"))
    """Any score (the papers': general); the normaliser is a softmax."""
    alignment: Literal["independent", "monotonic"] = "independent"
    """Each step's position by itself (2018), or never before the last one's (2019)."""
    embedding: Count = 128
    """Width of the embeddings (the papers: 100 or 200)."""
    hidden: Count = 256
    """Width of the states, each direction (the papers: 200 or 400)."""
    layers: Count = 1
    """Depth of encoder and decoder (the papers: 2 and 1)."""
    dropout: Share = 0.2
    """On the embeddings, the annotations and the states (the papers: 0.2 or 0.4)."""
    tie_embeddings: bool = False
    """One matrix for the target embedding and the output layer."""

    def __post_init__(self) -> None:
        attention = self.attention
        if attention != AttentionConfig(score=attention.score, hidden=attention.hidden):
            raise ValueError(
                'model.kind = "hard" reads of model.attention its score and hidden alone: every '
                "position is summed over with the softmax of its energy; leave the rest out, or "
                'take model.kind = "luong" with model.attention.normalizer = "hard"'
            )


@dataclass(frozen=True)
class NTMConfig:
    """Graves, Wayne and Danihelka 2014: a controller with a memory that it reads and writes."""

    __pydantic_config__ = STRICT

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


AnyModelConfig = (
    RNNencConfig
    | RNNsearchConfig
    | LuongConfig
    | TransformerConfig
    | HardConfig
    | NTMConfig
    | ClassifierConfig
    | HierarchicalConfig
    | TaggerConfig
)
ModelConfig = Annotated[AnyModelConfig, Field(discriminator="kind")]

MODEL_CONFIGS: dict[str, type[AnyModelConfig]] = {
    "rnnenc": RNNencConfig,
    "rnnsearch": RNNsearchConfig,
    "luong": LuongConfig,
    "transformer": TransformerConfig,
    "hard": HardConfig,
    "ntm": NTMConfig,
    "classifier": ClassifierConfig,
    "hierarchical": HierarchicalConfig,
    "tagger": TaggerConfig,
}


def usual_metrics(model: AnyModelConfig) -> tuple[str, ...]:
    """Return what a model is measured with where nothing else is asked for."""
    return METRICS.get(model.kind, ("bleu", "chrf"))
