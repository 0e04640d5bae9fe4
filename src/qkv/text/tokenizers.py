"""What a tokeniser is, and the ones there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from qkv.config import TokenizerConfig
    from qkv.text.vocabulary import Vocabulary

TOKENIZERS: dict[str, str] = {
    "characters": "qkv.text.characters:Characters",
    "words": "qkv.text.words:Words",
    "bpe": "qkv.text.subwords:BPE",
    "unigram": "qkv.text.subwords:Unigram",
}


class Tokenizer(ABC):
    """Cut a text into pieces, say where each came from, and join pieces into a text again."""

    kind: ClassVar[str]

    @classmethod
    @abstractmethod
    def train(cls, texts: Sequence[str], config: TokenizerConfig) -> tuple[Self, Vocabulary]:
        """Return a tokeniser for such texts, and its vocabulary."""

    @classmethod
    @abstractmethod
    def restore(cls, model: bytes) -> Self:
        """Return the tokeniser that `model` was taken from."""

    @property
    @abstractmethod
    def model(self) -> bytes:
        """All that `restore` needs; empty where there is nothing to store."""

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """Return the pieces of a text."""

    @abstractmethod
    def spans(self, text: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
        """Return each piece's place in the text.

        `pieces` are `split(text)`, or `text` is `join(pieces)` for pieces that a model put out.
        """

    @abstractmethod
    def join(self, pieces: Sequence[str]) -> str:
        """Return the text of these pieces: `join(split(text)) == text` as far as pieces can."""


def tokenizer_class(kind: str) -> type[Tokenizer]:
    """Import the tokeniser of this name.

    Raises:
        ValueError: there is none.
    """
    if kind not in TOKENIZERS:
        raise ValueError(f"unknown tokenizer {kind!r}; allowed: {', '.join(TOKENIZERS)}")
    module, name = TOKENIZERS[kind].split(":")
    found: type[Tokenizer] = getattr(import_module(module), name)
    return found
