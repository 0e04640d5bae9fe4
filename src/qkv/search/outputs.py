"""An output's text, with the place of each of its tokens in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qkv.text import Encoded, Token


def output_tokens(
    pieces: Sequence[str],
    join: Callable[[Sequence[str]], str],
    ids: Sequence[int] = (),
) -> Encoded:
    """Return an output's text, and where in it each of its pieces is.

    A piece stands for what the text gains when it is joined, without the space before it: the
    tokens need not be those that the tokeniser would cut the text into.

    Args:
        pieces: the output token by token, as the vocabulary spells it.
        join: `Tokenizer.join`.
        ids: of the pieces; passed on.
    """
    text = join(pieces)
    tokens, end = [], 0
    for i, piece in enumerate(pieces):
        start, end = end, len(join(pieces[: i + 1]))
        own = text[start:end]
        tokens.append(Token(piece, start + len(own) - len(own.lstrip() or own), end))
    return Encoded(text, tokens, list(ids))
