"""How parameters are fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from qkv.config.kinds import STRICT, Amount, Count, Fraction, Natural, Positive, Share


@dataclass(frozen=True)
class ReinforceConfig:
    """The estimator for attention that draws positions (normalizer = "hard")."""

    __pydantic_config__ = STRICT

    baseline: Literal["none", "moving_average", "learned"] = "moving_average"
    """What a step's log p is compared with: nothing, its average, or a prediction."""
    weight: Amount = 1.0
    """Weight of the score term (Xu et al. 2015: lambda_r)."""
    entropy: Amount = 0.01
    """Weight of the entropy of the positions (lambda_e)."""
    rao_blackwell: Natural = 0
    """Likeliest positions summed over at each step, and one drawn; 0: the drawn one alone."""


@dataclass(frozen=True)
class GuidedConfig:
    """Attention that learns from word links (Chen et al. 2016; Garg et al. 2019).

    It is the attention that the model gives as its alignment: of a Transformer, that of
    model.alignment.
    """

    __pydantic_config__ = STRICT

    weight: Amount = 0.0
    """Weight of the cross-entropy of the attention with the links, beside that of the words; 0:
    attention is not guided."""
    links: str = ""
    """A file of word links, a line (0-0 1-2) for each training pair; empty: the corpus's own."""

    shifted: bool = False
    """Let the row that has read a word learn its links (Chen et al. 2020), not the one that
    predicts it: for Luong and Transformers, whose rows have read the last word."""

    def __post_init__(self) -> None:
        if (self.links or self.shifted) and not self.weight:
            raise ValueError(
                "links and shifted say how attention is guided, but weight = 0; give a weight, "
                "such as 0.3, or leave them out"
            )


@dataclass(frozen=True)
class TrainingConfig:
    """How the parameters are fitted."""

    __pydantic_config__ = STRICT

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
    """Type of the factors of matrix products; weights and sums are float32."""
    reinforce: ReinforceConfig = field(default_factory=ReinforceConfig)
    """Of model.attention.normalizer = "hard" alone."""
    guided: GuidedConfig = field(default_factory=GuidedConfig)
    """Attention that learns from word links."""
    evaluate_every: Natural = 0
    """Updates between evaluations; 0: at the end of each epoch."""
    checkpoint_every: Count = 500
    """Updates between checkpoints; a killed run goes on from the last one."""
    average: Count = 5
    """Last evaluations whose weights are averaged at the end; 1: none."""
    metric: Literal[
        "loss",
        "bleu",
        "chrf",
        "wer",
        "per",
        "accuracy",
        "token-accuracy",
        "f1-macro",
        "f1-micro",
        "f1-binary",
    ] = "loss"
    """The dev metric that picks the best weights; of equal values, the lower dev loss."""
    dev_limit: Count = 500
    """Dev pairs decoded for a metric other than loss."""
    threads: Natural = 0
    """Torch's threads on a CPU; 0: torch's choice."""
    tensorboard: bool = False
    """Write TensorBoard events beside the JSON lines (an extra)."""
