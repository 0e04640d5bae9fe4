"""Tokens and the words they are part of."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qkv.text import Token, words_of
from qkv.text.tokens import assign


@settings(deadline=None, derandomize=True)
@given(text=st.text())
def test_words_are_what_split_returns_in_their_places(text):
    words = words_of(text)

    assert [word.text for word in words] == text.split()
    assert [text[word.start : word.end] for word in words] == text.split()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    text=st.text(alphabet="ab \t", max_size=12),
    spans=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6),
)
def test_every_token_goes_to_the_word_it_shares_most_with_or_else_to_the_next(text, spans):
    tokens = [Token("x", min(a, b), max(a, b)) for a, b in spans]
    words = words_of(text)
    assume(words)

    for token, chosen in zip(tokens, assign(tokens, words), strict=True):
        shared = [
            sum(token.start <= i < token.end for i in range(word.start, word.end))
            for word in words
        ]
        if any(shared):
            assert chosen == shared.index(max(shared))
        else:
            following = [i for i, word in enumerate(words) if word.end > token.start]
            assert chosen == (following[0] if following else len(words) - 1)


def test_subword_pieces_and_the_mark_before_them_go_to_their_word():
    #       0123456789
    text = "un do  it"
    pieces = [("▁", 0, 0), ("un", 0, 2), ("▁do", 2, 5), ("▁", 5, 6), ("▁it", 6, 9)]

    assert assign([Token(*piece) for piece in pieces], words_of(text)) == [0, 0, 1, 2, 2]


def test_a_text_without_words_has_nothing_to_assign_to():
    with pytest.raises(ValueError, match="without words"):
        assign([Token(" ", 0, 1)], words_of("  "))
