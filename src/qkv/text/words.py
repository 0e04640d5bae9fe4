"""Words: what whitespace separates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, final

from qkv.text.tokenizers import Tokenizer
from qkv.text.tokens import words_of
from qkv.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from qkv.config import TokenizerConfig


@final
class Words(Tokenizer):
    """One token a word, also for symbols written with spaces, such as the phonemes `K AE T`.

    Joining puts one space between words, so other whitespace is not given back.
    """

    kind = "words"

    @classmethod
    def train(cls, texts: Sequence[str], config: TokenizerConfig) -> tuple[Words, Vocabulary]:
        """Take the most frequent words as the vocabulary."""
        seen = chain.from_iterable(text.split() for text in texts)
        return cls(), Vocabulary.count(seen, size=config.size, min_count=config.min_count)

    @classmethod
    def restore(cls, model: bytes) -> Words:
        """There is nothing to restore."""
        return cls()

    @property
    def model(self) -> bytes:
        """Nothing."""
        return b""

    def split(self, text: str) -> list[str]:
        """Return the words."""
        return text.split()

    def spans(self, text: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
        """Return each word's place in the text."""
        return [(word.start, word.end) for word in words_of(text)]

    def join(self, pieces: Sequence[str]) -> str:
        """Return the words with a space between them."""
        return " ".join(pieces)
