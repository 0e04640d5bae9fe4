"""One side of the data, the source or the target: its tokeniser and its vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from qkv.text import sidefile
from qkv.text.tokenizers import Tokenizer, tokenizer_class
from qkv.text.tokens import Token, visible
from qkv.text.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

if TYPE_CHECKING:
    from qkv.config import TokenizerConfig


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text, its tokens, and their ids (without BOS and EOS): as many tokens as ids."""

    text: str
    tokens: list[Token]
    ids: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """How one side's text becomes ids, and ids become text.

    `Side.train(config, texts)` learns one; `save` and `load` keep it in one file.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    lowercase: bool = False

    @classmethod
    def train(cls, config: TokenizerConfig, texts: Iterable[str]) -> Side:
        """Learn the tokeniser and vocabulary from the training text (read once).

        Raises:
            ValueError: the text or the size is too small to learn anything.
        """
        prepared = [text.lower() for text in texts] if config.lowercase else list(texts)
        tokenizer, vocabulary = tokenizer_class(config.kind).train(prepared, config)
        return cls(tokenizer, vocabulary, config.lowercase)

    @property
    def digest(self) -> str:
        """A hash of everything that decides ids: equal digests encode alike."""
        return sidefile.digest(self._content())

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text, without BOS and EOS: `encode(text).ids`, and faster."""
        return self.vocabulary.ids(self.pieces(text))

    def pieces(self, text: str) -> list[str]:
        """Return the symbols that the vocabulary looks up, one a token."""
        return self.tokenizer.split(self._prepare(text))

    def encode(self, text: str) -> Encoded:
        """Return the tokens of a text with their spans in it, and their ids (no BOS, no EOS).

        Raises:
            ValueError: the text is not valid Unicode (a lone surrogate).
        """
        prepared = self._prepare(text)
        pieces = self.tokenizer.split(prepared)
        spans = self.tokenizer.spans(prepared, pieces)
        if self.lowercase:
            spans = _in_original(text, prepared, spans)
        tokens = [Token(piece, *span) for piece, span in zip(pieces, spans, strict=True)]
        return Encoded(text, tokens, self.vocabulary.ids(pieces))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of these ids up to the first EOS; an unknown shows as <unk>.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        return self.describe(ids).text

    def describe(self, ids: Sequence[int]) -> Encoded:
        """Return the text of these ids as `decode`, with the place of each token in it.

        PAD, BOS, and what follows the first EOS are not in the result's ids.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        spelled = self.vocabulary.spell(ids)
        shown = [
            (id, piece)
            for id, piece in takewhile(lambda pair: pair[0] != EOS, zip(ids, spelled, strict=True))
            if id not in (PAD, BOS)
        ]
        pieces = [piece for _, piece in shown]
        text = self.tokenizer.join(pieces)
        spans = self.tokenizer.spans(text, pieces)
        tokens = [Token(piece, *span) for piece, span in zip(pieces, spans, strict=True)]
        return Encoded(text, tokens, [id for id, _ in shown])

    def symbols(self, ids: Sequence[int]) -> list[str]:
        """Return a visible form of each id, for labels; the specials by their names."""
        spelled = self.vocabulary.spell(ids)
        return [
            symbol if id <= UNK else visible(symbol)
            for id, symbol in zip(ids, spelled, strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write all of it into one JSON file (whole or not at all)."""
        sidefile.write(Path(path), self._content())

    @classmethod
    def load(cls, path: str | Path) -> Side:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is missing, cut short, edited, or no such file.
        """
        content = sidefile.read(Path(path))
        tokenizer = tokenizer_class(content.kind).restore(content.model)
        return cls(tokenizer, Vocabulary(content.symbols), content.lowercase)

    def _content(self) -> sidefile.Content:
        return sidefile.Content(
            kind=self.tokenizer.kind,
            lowercase=self.lowercase,
            symbols=self.vocabulary.symbols[UNK + 1 :],
            model=self.tokenizer.model,
        )

    def _prepare(self, text: str) -> str:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"character {error.start} of the text is a lone surrogate "
                f"(U+{ord(text[error.start]):04X}), which is no Unicode text; was it read with a "
                f"wrong encoding?"
            ) from None
        return text.lower() if self.lowercase else text


def _in_original(text: str, lowered: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Move spans in text.lower() to the text itself, where İ (one) lowers to i̇ (two)."""
    if len(lowered) == len(text):
        return spans
    # ends[i] is where the lowered form of text[i] ends. Case mapping may look at neighbours (final
    # sigma), but no neighbour changes the length.
    lengths = [len(character.lower()) for character in text]
    assert sum(lengths) == len(lowered)
    starts_at = [i for i, n in enumerate(lengths) for _ in range(n)]
    first = [*starts_at, len(text)]
    last = [0, *(i + 1 for i in starts_at)]
    return [(first[start], last[end] if end > start else first[start]) for start, end in spans]
