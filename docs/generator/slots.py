"""The slots of the equation: their registries, and what to show of what they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from generator import examples, pictures
from qkv.attention.biases import BIASES
from qkv.attention.linear.features import FEATURES
from qkv.attention.local import LOCALS
from qkv.attention.masks import MASKS, PATTERNS
from qkv.attention.normalizers import NORMALIZERS
from qkv.attention.reweighters import REWEIGHTERS
from qkv.attention.scores import SCORES
from qkv.models.build import LABELLERS, MODELS
from qkv.nn.alignments import ALIGNMENTS
from qkv.nn.baselines import BASELINES

ROTARY = {"rotary": "qkv.attention.rotary:Rotary"}
HEADS = {"multi_head": "qkv.nn.multi_head:MultiHeadAttention"}
NTM = {"ntm": "qkv.nn.ntm:NeuralTuringMachine"}
MEMORY_NETWORK = {"memory_network": "qkv.nn.memory_network:MemoryNetwork"}


@dataclass(frozen=True)
class Slot:
    """One table, and its part of the gallery.

    module: its docstring opens the section. key: the config's. example: a text with {part}; ""
    keeps it out of the gallery. build: an expression with {name}, unless examples.PARTS has one.
    """

    title: str
    module: str
    registry: Mapping[str, Any]
    key: str = ""
    example: str = ""
    build: str = ""
    draw: Callable[[str], Tensor] | None = None

    def part(self, name: str) -> str:
        """Return the expression that builds a mechanism.

        Raises:
            KeyError: a name is not enough to build it, and examples.PARTS does not say how.
        """
        if name in examples.PARTS:
            return examples.PARTS[name]
        if "{name}" in self.build or len(self.registry) == 1:
            return self.build.format(name=name)
        raise KeyError(f"say in docs/generator/examples.py, PARTS, how to build {name!r}")


_A = "qkv.attention."
SLOTS = (
    Slot(
        "Scores",
        _A + "scores",
        SCORES,
        "model.attention.score",
        examples.SCORE,
        'qkv.scores.build("{name}", query_dim=16, key_dim=16)',
        pictures.score,
    ),
    Slot("Masks", _A + "masks", MASKS, "", examples.MASK, "", pictures.mask),
    Slot("Patterns", _A + "masks.patterns", PATTERNS, "", examples.MASK, "", pictures.mask),
    Slot(
        "Biases",
        _A + "biases",
        BIASES,
        "model.encoder_attention.bias",
        examples.BIAS,
        'qkv.biases.build("{name}", heads=8)',
        pictures.bias,
    ),
    Slot(
        "Rotary positions",
        _A + "rotary",
        ROTARY,
        "model.positions",
        examples.ROTARY,
        "qkv.Rotary(16)",
        pictures.rotary,
    ),
    Slot(
        "Normalizers",
        _A + "normalizers",
        NORMALIZERS,
        "model.attention.normalizer",
        examples.NORMALIZER,
        'qkv.normalizers.build("{name}")',
        pictures.normalizer,
    ),
    Slot(
        "Reweighters",
        _A + "reweighters",
        REWEIGHTERS,
        "",
        examples.REWEIGHTER,
        "",
        pictures.reweighter,
    ),
    Slot(
        "Local attention",
        _A + "local",
        LOCALS,
        "model.attention.scope",
        examples.LOCAL,
        'qkv.local.build("{name}", query_dim=16, window=3)',
        pictures.local,
    ),
    Slot(
        "Linear attention",
        _A + "linear",
        FEATURES,
        "model.encoder_attention.features",
        examples.FEATURES,
        'qkv.linear.features.build("{name}", dim=16)',
        pictures.features,
    ),
    Slot(
        "Hard alignments",
        "qkv.nn.alignments",
        ALIGNMENTS,
        "model.alignment",
        examples.ALIGNMENT,
        'ALIGNMENTS["{name}"]()',
        pictures.alignment,
    ),
    Slot("Neural Turing machine", "qkv.nn.ntm", NTM, "model.kind", examples.NTM, "", pictures.ntm),
    Slot(
        "Memory networks",
        "qkv.nn.memory_network",
        MEMORY_NETWORK,
        "",
        examples.MEMORY_NETWORK,
        "",
        pictures.memory_network,
    ),
    Slot("Multi-head attention", "qkv.nn.multi_head", HEADS, "", examples.MULTI_HEAD),
    Slot("Baselines", "qkv.nn.baselines", BASELINES, "training.reinforce.baseline"),
    Slot("Models", "qkv.models", MODELS, "model.kind"),
    Slot("Models of labels", "qkv.models.labeller", LABELLERS, "model.kind"),
)
