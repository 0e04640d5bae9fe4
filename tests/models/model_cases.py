"""Every kind of model over every score, small: what the tests of models sweep.

A new kind or score in the registries is swept without a line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from qkv.attention.biases import BIASES
from qkv.attention.linear.features import FEATURES
from qkv.attention.local import LOCALS
from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.scores import SCORES
from qkv.config import (
    AttentionConfig,
    HardConfig,
    LuongConfig,
    ModelConfig,
    NTMConfig,
    RNNencConfig,
    RNNsearchConfig,
    TransformerConfig,
)
from qkv.models.build import MODELS, build_model
from qkv.models.model import EncoderDecoder
from qkv.text import BOS, EOS, PAD

SOURCE, TARGET = 17, 19
FIRST = 4  # the first id that is no special

# 14: dot and scaled dot give each direction half of it, 7.
CONFIGS: dict[str, ModelConfig] = {
    "rnnenc": RNNencConfig(embedding=5, hidden=7, dropout=0.0),
    "rnnsearch": RNNsearchConfig(embedding=5, hidden=14, maxout=11, dropout=0.0),
    "luong": LuongConfig(embedding=5, hidden=14, layers=2, dropout=0.0),
    "transformer": TransformerConfig(
        width=21, heads=3, feedforward=13, encoder_layers=2, decoder_layers=2, dropout=0.0
    ),
    "hard": HardConfig(embedding=5, hidden=14, dropout=0.0),
    "ntm": NTMConfig(embedding=5, hidden=7, slots=11, slot_width=3, dropout=0.0),
}


@dataclass(frozen=True)
class Case:
    """A model to build; `shared`: one vocabulary for both sides."""

    name: str
    config: ModelConfig
    shared: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def sizes(self) -> tuple[int, int]:
        """The vocabularies."""
        return (TARGET, TARGET) if self.shared else (SOURCE, TARGET)


def attentions(config: ModelConfig) -> list[str]:
    """The names of a config's attentions."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return [name for name, value in values.items() if isinstance(value, AttentionConfig)]


def with_score(config: ModelConfig, score: str) -> ModelConfig:
    """The same config with one word changed in each of its attentions."""
    return replace(config, **{name: AttentionConfig(score=score) for name in attentions(config)})


def variant(kind: str, *, shared: bool = False, **changes: Any) -> Case:
    """A kind with some settings changed."""
    config = replace(CONFIGS[kind], **changes)
    shown = [
        f"{name}={words(value)}"
        for name, value in (*changes.items(), *([("shared", True)] if shared else []))
    ]
    return Case("-".join([kind, *shown]), config, shared)


def words(value: Any) -> str:
    """What a setting says, in a word or two."""
    if not isinstance(value, AttentionConfig):
        return str(value)
    plain = AttentionConfig()
    given = {f.name: getattr(value, f.name) for f in fields(value)}
    return "/".join(str(v) for name, v in given.items() if v != getattr(plain, name)) or "plain"


def attention(**slots: Any) -> AttentionConfig:
    """An attention with some slots filled; windows are small enough to leave keys out."""
    return AttentionConfig(**{"score": "general", "window": 2, **slots})


SWEEP = [
    Case(f"{kind}-{score}", with_score(CONFIGS[kind], score))
    for kind in MODELS
    for score in (SCORES if attentions(CONFIGS[kind]) else ["none"])
]
VARIANTS = [
    variant("rnnenc", cell="rnn", layers=2, bidirectional=False),
    variant("rnnenc", cell="lstm", layers=3),
    variant("rnnenc", tie_embeddings=True),
    variant("rnnsearch", layers=2, tie_embeddings=True),
    variant("luong", input_feeding=False),
    variant("luong", input_feeding=False, layers=3, tie_embeddings=True),
    variant("luong", bidirectional=True),
    variant("luong", bidirectional=True, attention=AttentionConfig(score="dot")),
    variant("transformer", norm="post", tie_embeddings=False),
    variant("transformer", positions="learned", max_positions=23, shared=True),
    variant("transformer", kv_heads=1, alignment="0.1"),
    variant("transformer", cross_attention=AttentionConfig(score="additive")),
    *(
        variant(kind, attention=attention(score=score, scope=scope))
        for kind in ("rnnsearch", "luong")
        for scope in LOCALS
        for score in ("general", "location")
    ),
    *(variant("luong", input_feeding=False, attention=attention(scope=scope)) for scope in LOCALS),
    variant("transformer", encoder_attention=attention(scope="local-m")),
    variant("transformer", encoder_attention=attention(scope="local-p", window=1)),
    variant("transformer", decoder_attention=attention(scope="local-m", window=1)),
    variant("transformer", cross_attention=attention(scope="local-p", window=1)),
    variant("transformer", cross_attention=attention(scope="local-m")),
    *(
        variant(
            "transformer",
            positions="none",
            encoder_attention=attention(bias=bias),
            decoder_attention=attention(bias=bias),
        )
        for bias in BIASES
    ),
    variant("transformer", positions="rotary", width=24),
    variant(
        "transformer",
        **{
            name: attention(score="scaled_dot", layer_scores=("cosine", "additive"))
            for name in attentions(CONFIGS["transformer"])
        },
    ),
    *(
        variant(
            "transformer",
            **{
                name: attention(score="scaled_dot", features=features)
                for name in attentions(CONFIGS["transformer"])
            },
        )
        for features in FEATURES
    ),
    *(
        variant(kind, attention=attention(normalizer=normalizer))
        for kind in ("rnnsearch", "luong")
        for normalizer in NORMALIZERS
    ),
    *(
        variant("transformer", cross_attention=attention(normalizer=normalizer))
        for normalizer in NORMALIZERS
        if normalizer != "hard"
    ),
    variant("rnnsearch", attention=attention(normalizer="entmax", alpha=1.3)),
    variant("luong", attention=attention(temperature=0.5)),
    variant("hard", layers=2, tie_embeddings=True),
    variant("hard", alignment="monotonic"),
    variant("hard", alignment="monotonic", layers=2, tie_embeddings=True),
    variant("ntm", controller="feedforward", read_heads=2, max_shift=2),
    variant("ntm", write_heads=3, max_shift=0, tie_embeddings=True),
]
CASES = [*SWEEP, *VARIANTS]


def fresh(case: Case, seed: int = 1) -> EncoderDecoder:
    """The model as training would start it."""
    torch.manual_seed(seed)
    return build_model(case.config, *case.sizes, shared=case.shared)


def stir(model: torch.nn.Module, seed: int = 2) -> None:
    """Add noise to every parameter: none is zero, pads have an embedding, attention is uneven."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.4 * noise.to(parameter.dtype))


@cache
def built(case: Case, dtype: torch.dtype = torch.float64) -> EncoderDecoder:
    """The stirred model, ready to be asked; shared by tests, so nobody changes it."""
    model = fresh(case).to(dtype).eval()
    stir(model)
    return model


def sources(sizes: Sequence[int], vocabulary: int = SOURCE, seed: int = 3) -> list[list[int]]:
    """Random sources of these lengths, EOS counted."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [*torch.randint(FIRST, vocabulary, (size - 1,), generator=generator).tolist(), EOS]
        for size in sizes
    ]


def targets(sizes: Sequence[int], seed: int = 4) -> list[list[int]]:
    """Random decoder inputs of these lengths, BOS counted."""
    generator = torch.Generator().manual_seed(seed)
    return [
        [BOS, *torch.randint(FIRST, TARGET, (size - 1,), generator=generator).tolist()]
        for size in sizes
    ]


def padded(rows: Sequence[Sequence[int]], extra: int = 0) -> tuple[Tensor, Tensor]:
    """A batch of rows, and their lengths."""
    width = max(map(len, rows)) + extra
    return (
        torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows]),
        torch.tensor([len(row) for row in rows]),
    )


def slack(dtype: torch.dtype = torch.float64) -> dict[str, float]:
    """How far two orders of the same sums may lie apart.

    A number passes through at most 32 layers and steps; each sums at most 64 terms below 8, and
    each term adds an error of at most eps of the sum: 32 * 64 * 8 eps (4e-12 in float64, where a
    forgotten mask, gate or step is off by 1e-2).
    """
    return {"rtol": 0.0, "atol": 32 * 64 * 8 * torch.finfo(dtype).eps}


EXACT = {"rtol": 0.0, "atol": 0.0}
