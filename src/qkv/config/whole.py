"""All of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from qkv.config.attention import AttentionConfig
from qkv.config.data import DataConfig, TextConfig
from qkv.config.kinds import STRICT
from qkv.config.models import AnyModelConfig, ModelConfig, RNNsearchConfig
from qkv.config.search import SearchConfig
from qkv.config.training import TrainingConfig


@dataclass(frozen=True)
class Config:
    """All of a run."""

    __pydantic_config__ = STRICT

    data: DataConfig = field(default_factory=DataConfig)
    """The pairs."""
    text: TextConfig = field(default_factory=TextConfig)
    """The tokenisers."""
    model: ModelConfig = field(default_factory=RNNsearchConfig)
    """The model, chosen by its kind: rnnenc, rnnsearch, luong, transformer, hard or ntm; of
    labels: classifier, hierarchical or tagger."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """The search of evaluation and translation."""

    def __post_init__(self) -> None:
        model = self.model
        if self.training.reinforce.rao_blackwell:
            attention = getattr(model, "attention", None)
            if attention is not None and attention.scope == "local-p":
                raise ValueError(
                    f"training.reinforce.rao_blackwell = {self.training.reinforce.rao_blackwell} "
                    "sums over positions that might have been read, without the Gaussian that "
                    'model.attention.scope = "local-p" lays on what is read; leave it at 0, or '
                    'take scope = "local-m" or "global"'
                )
        if self.training.guided.weight:
            _can_be_guided(model, shifted=self.training.guided.shifted)
        if model.kind == "transformer" and model.positions == "learned":
            longest = self.data.max_length + 1  # and the end symbol
            if longest > model.max_positions:
                raise ValueError(
                    f"data.max_length = {self.data.max_length} and the end symbol need {longest} "
                    f"positions, but model.max_positions = {model.max_positions}; raise it, lower "
                    'data.max_length, or set model.positions = "sinusoidal"'
                )


_GUIDED = ("rnnsearch", "luong", "transformer", "hard")


def _can_be_guided(model: AnyModelConfig, *, shifted: bool) -> None:
    """Refuse to guide attention that is not there, that draws, or that knows too little."""
    if model.kind not in _GUIDED:
        raise ValueError(
            "training.guided.weight guides the attention of a target on its source, and "
            f'model.kind = "{model.kind}" has none; leave it out, or take one of '
            f"{', '.join(_GUIDED)}"
        )
    if shifted and model.kind == "rnnsearch":
        raise ValueError(
            "training.guided.shifted is for rows that have read the last word, and those of "
            'model.kind = "rnnsearch" have not: it attends before it reads; leave it out'
        )
    attentions = [value for value in vars(model).values() if isinstance(value, AttentionConfig)]
    for attention in attentions:
        if attention.normalizer in ("hard", "gumbel"):
            raise ValueError(
                f'training.guided.weight guides shares, and normalizer = "{attention.normalizer}" '
                "draws one position; leave one of them out"
            )
