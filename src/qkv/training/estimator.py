"""How the gradient passes what a model draws."""

from __future__ import annotations

from torch import nn

from qkv.attention.normalizers import Normalizer
from qkv.config import ReinforceConfig
from qkv.models.model import EncoderDecoder, Model
from qkv.nn.baselines import BASELINES
from qkv.nn.reinforce import Reinforce


class Exact(nn.Module):
    """Nothing is drawn: the gradient is the loss's own. Holds nothing."""


Estimator = Exact | Reinforce


def build_estimator(model: Model, config: ReinforceConfig) -> Estimator:
    """Build REINFORCE for a model with a normaliser that draws, else what costs nothing."""
    if not any(isinstance(part, Normalizer) and part.draws for part in model.modules()):
        return Exact()
    assert isinstance(model, EncoderDecoder)
    return Reinforce(
        BASELINES[config.baseline](model.output.features),
        weight=config.weight,
        entropy=config.entropy,
        rao_blackwell=config.rao_blackwell,
    )
