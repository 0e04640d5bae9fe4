"""Characters: every Unicode code point is a token, the space included."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise
from typing import TYPE_CHECKING, final

from qkv.text.tokenizers import Tokenizer
from qkv.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from qkv.config import TokenizerConfig


@final
class Characters(Tokenizer):
    """One token a code point; joining gives back the text, code point for code point.

    A letter with a combining accent is two tokens (the text is not normalised).
    """

    kind = "characters"

    @classmethod
    def train(cls, texts: Sequence[str], config: TokenizerConfig) -> tuple[Characters, Vocabulary]:
        """Take the most frequent characters as the vocabulary."""
        seen = chain.from_iterable(texts)
        return cls(), Vocabulary.count(seen, size=config.size, min_count=config.min_count)

    @classmethod
    def restore(cls, model: bytes) -> Characters:
        """There is nothing to restore."""
        return cls()

    @property
    def model(self) -> bytes:
        """Nothing."""
        return b""

    def split(self, text: str) -> list[str]:
        """Return the characters."""
        return list(text)

    def spans(self, text: str, pieces: Sequence[str]) -> list[tuple[int, int]]:
        """Return the pieces' places, side by side (<unk> in an output has five characters)."""
        return list(pairwise(accumulate(map(len, pieces), initial=0)))

    def join(self, pieces: Sequence[str]) -> str:
        """Return the pieces side by side."""
        return "".join(pieces)
