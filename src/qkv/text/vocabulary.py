"""The symbols of one side and their ids."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence

PAD, BOS, EOS, UNK = 0, 1, 2, 3
FIRST_WORD = EOS
"""What stands before it, PAD and BOS, is never written; what follows may be."""
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


class Vocabulary:
    """Symbols with their ids: the four specials, then the given symbols in order.

    A special is a number, never a spelling: text that happens to read `</s>` is an ordinary symbol
    with an id of its own if the vocabulary holds it, and UNK if not.

    Raises:
        ValueError: a symbol is given twice, or is empty.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        ordinary = list(symbols)
        self._index = {symbol: i for i, symbol in enumerate(ordinary, len(SPECIALS))}
        if len(self._index) < len(ordinary):
            twice = next(symbol for symbol, n in Counter(ordinary).items() if n > 1)
            raise ValueError(f"the symbol {twice!r} is given twice; a vocabulary holds it once")
        if "" in self._index:
            raise ValueError("a symbol is empty; every symbol needs at least one character")
        self._symbols = (*SPECIALS, *ordinary)

    @classmethod
    def count(cls, tokens: Iterable[str], *, size: int, min_count: int = 1) -> Vocabulary:
        """Keep the most frequent tokens: at most `size` symbols, each seen `min_count` times.

        The order is by count, then by code point, so it does not depend on the order of the text.

        Raises:
            ValueError: no token is left.
        """
        if size <= len(SPECIALS):
            raise ValueError(
                f"a vocabulary of size {size} has no room beside its {len(SPECIALS)} specials; "
                f"give a size of {len(SPECIALS) + 1} or more"
            )
        ranked = sorted(Counter(tokens).items(), key=lambda item: (-item[1], item[0]))
        kept = [token for token, n in ranked if n >= min_count][: size - len(SPECIALS)]
        if not kept:
            raise ValueError(
                f"no symbol is seen {min_count} times or more in the training text "
                f"({len(ranked)} different ones in all); give more text or a lower min_count"
            )
        return cls(kept)

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._index

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols by id, the specials first."""
        return self._symbols

    @property
    def digest(self) -> str:
        """A hash of the symbols and their order: equal digests mean equal ids."""
        content = json.dumps(self._symbols, ensure_ascii=True).encode("ascii")
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def ids(self, symbols: Iterable[str]) -> list[int]:
        """Return each symbol's id; UNK for a symbol that is not held. Never PAD, BOS or EOS."""
        find = self._index.get
        return [find(symbol, UNK) for symbol in symbols]

    def symbol(self, id: int) -> str:
        """Return the symbol of an id.

        Raises:
            ValueError: there is no such id.
        """
        if not 0 <= id < len(self._symbols):
            raise ValueError(
                f"id {id} is outside the vocabulary of {len(self._symbols)} symbols (0 to "
                f"{len(self._symbols) - 1}); were these ids made with another vocabulary?"
            )
        return self._symbols[id]

    def spell(self, ids: Sequence[int]) -> list[str]:
        """Return the symbols of a sequence of ids."""
        return [self.symbol(id) for id in ids]
