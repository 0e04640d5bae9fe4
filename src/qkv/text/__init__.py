"""Text as numbers: tokenisers whose tokens know where they came from, and vocabularies."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qkv.text.side import Encoded, Side
    from qkv.text.tokenizers import TOKENIZERS, Tokenizer
    from qkv.text.tokens import Token, words_of
    from qkv.text.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "SPECIALS",
    "TOKENIZERS",
    "UNK",
    "Encoded",
    "Side",
    "Token",
    "Tokenizer",
    "Vocabulary",
    "words_of",
]

_HOME = {
    "Encoded": "side",
    "Side": "side",
    "TOKENIZERS": "tokenizers",
    "Tokenizer": "tokenizers",
    "Token": "tokens",
    "words_of": "tokens",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'qkv.text' has no attribute {name!r}")
    return getattr(import_module(f"qkv.text.{_HOME.get(name, 'vocabulary')}"), name)


def __dir__() -> list[str]:
    return __all__
