"""Vocabularies: symbols and ids."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.text import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary

SYMBOLS = st.lists(st.text(min_size=1, max_size=4), unique=True, max_size=20)


def test_the_specials_have_the_ids_that_models_rely_on():
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert Vocabulary(["a"]).symbols == ("<pad>", "<s>", "</s>", "<unk>", "a")


@settings(deadline=None, derandomize=True)
@given(symbols=SYMBOLS)
def test_ids_and_symbols_are_inverse(symbols):
    vocabulary = Vocabulary(symbols)

    assert vocabulary.ids(symbols) == list(range(4, 4 + len(symbols)))
    assert vocabulary.spell(vocabulary.ids(symbols)) == symbols
    assert len(vocabulary) == 4 + len(symbols)


def test_a_symbol_that_reads_like_a_special_has_an_id_of_its_own():
    vocabulary = Vocabulary([*SPECIALS, "a"])

    assert vocabulary.ids(SPECIALS) == [4, 5, 6, 7]
    assert Vocabulary(["a"]).ids(SPECIALS) == [UNK] * 4


def test_what_is_not_held_is_unknown():
    assert Vocabulary(["a", "b"]).ids(["a", "c", "b"]) == [4, UNK, 5]


def test_counting_keeps_the_most_frequent_whatever_the_order():
    tokens = ["b"] * 3 + ["a"] * 3 + ["c"] * 2 + ["d"]
    expected = Vocabulary(["a", "b", "c"]).symbols

    for seed in range(5):
        random.Random(seed).shuffle(tokens)
        assert Vocabulary.count(tokens, size=99, min_count=2).symbols == expected
        assert Vocabulary.count(tokens, size=7).symbols == expected


def test_the_digest_changes_with_any_symbol_and_any_order():
    digests = {
        Vocabulary(symbols).digest
        for symbols in (["a", "b"], ["b", "a"], ["a"], ["ab"], ["a", "b", "c"], ["a", "b\0"])
    }

    assert len(digests) == 6
    assert Vocabulary(["a", "b"]).digest == Vocabulary(["a", "b"]).digest


@pytest.mark.parametrize(
    ("symbols", "message"), [(["a", "b", "a"], "'a' is given twice"), (["a", ""], "empty")]
)
def test_repeated_and_empty_symbols_are_refused(symbols, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(symbols)


def test_nothing_frequent_enough_is_refused():
    with pytest.raises(ValueError, match=r"2 times or more .*lower min_count"):
        Vocabulary.count(["a", "b"], size=9, min_count=2)
