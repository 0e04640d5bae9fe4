"""The configuration of a run: frozen dataclasses; `configfile` reads them and checks every key.

No tensor library is imported here, so that `qkv train --help` answers at once.
"""

from __future__ import annotations

from qkv.config.attention import AttentionConfig
from qkv.config.data import DataConfig, TextConfig, TokenizerConfig
from qkv.config.labellers import ClassifierConfig, HierarchicalConfig, TaggerConfig
from qkv.config.models import (
    MODEL_CONFIGS,
    AnyModelConfig,
    HardConfig,
    LuongConfig,
    ModelConfig,
    NTMConfig,
    RNNencConfig,
    RNNsearchConfig,
    TransformerConfig,
)
from qkv.config.search import SearchConfig
from qkv.config.training import GuidedConfig, ReinforceConfig, TrainingConfig
from qkv.config.whole import Config

__all__ = [
    "MODEL_CONFIGS",
    "AnyModelConfig",
    "AttentionConfig",
    "ClassifierConfig",
    "Config",
    "DataConfig",
    "GuidedConfig",
    "HardConfig",
    "HierarchicalConfig",
    "LuongConfig",
    "ModelConfig",
    "NTMConfig",
    "RNNencConfig",
    "RNNsearchConfig",
    "ReinforceConfig",
    "SearchConfig",
    "TaggerConfig",
    "TextConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "TransformerConfig",
]
