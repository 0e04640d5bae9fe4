"""From a config to a model."""

from __future__ import annotations

from qkv.config import ModelConfig, TaggerConfig, TransformerConfig
from qkv.models.classifier import Classifier
from qkv.models.hard import Hard
from qkv.models.hierarchical import Hierarchical
from qkv.models.luong import Luong
from qkv.models.model import Model
from qkv.models.ntm import NTM
from qkv.models.rnnenc import RNNenc
from qkv.models.rnnsearch import RNNsearch
from qkv.models.tagger import Tagger
from qkv.models.transformer import Transformer

MODELS: dict[str, type[Model]] = {
    "rnnenc": RNNenc,
    "rnnsearch": RNNsearch,
    "luong": Luong,
    "transformer": Transformer,
    "hard": Hard,
    "ntm": NTM,
}

LABELLERS: dict[str, type[Model]] = {
    "classifier": Classifier,
    "hierarchical": Hierarchical,
    "tagger": Tagger,
}


def build_model(
    config: ModelConfig, source_size: int, target_size: int, *, shared: bool = False
) -> Model:
    """Build the model that a config names, for vocabularies of these sizes.

    shared: both sides have one vocabulary, so a Transformer that ties its embeddings ties all.
    """
    model = (MODELS | LABELLERS)[config.kind](config, source_size, target_size)
    if shared and isinstance(config, TransformerConfig) and config.tie_embeddings:
        assert isinstance(model, Transformer)
        model.share_embeddings()
    return model


def spelled(config: ModelConfig) -> bool:
    """Return whether the model of a config reads the letters of words; see `Model.spelled`."""
    return isinstance(config, TaggerConfig) and config.characters > 0


def predicts(config: ModelConfig) -> str:
    """Return what the model of a config says of a source; see `Model.predicts`."""
    said: str = (MODELS | LABELLERS)[config.kind].predicts
    return said
