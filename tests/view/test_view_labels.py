"""Labels are shown as they are, or spelled out; they never disturb what is beside them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.view.labels import cells, ems, fold, graphemes, isolate, visible

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)  # surrogates too


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Haus", "Haus"),
        ("", "∅"),
        (" ", "␣"),
        (" a b ", "␣a b␣"),
        ("a\tb\n", "a\\tb\\n"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eevil", "\\u202eevil"),
        ("\u2066x", "\\u2066x"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\uffff", "\\uffff"),
        ("\xa0", "\\xa0"),
        ("\u3000", "\\u3000"),
        ("\u200b", "\\u200b"),
        ("\u200d", "\\u200d"),
        ("\u0301a", "◌\u0301a"),
        ("e\u0301", "e\u0301"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("日本", "日本"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out_and_the_rest_stays(label, shown):
    assert visible(label) == shown


@settings(deadline=None)
@given(ANY_TEXT)
def test_every_label_is_visible_encodable_and_free_of_controls(label):
    shown = visible(label)
    assert cells(shown) > 0
    assert shown.encode("utf-8")
    joiners = {"\u200c", "\u200d"}
    left = {unicodedata.category(c) for c in shown if c not in joiners}
    assert not left & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "count"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("👩‍👩‍👧", 2), ("שָׁלוֹם", 4)]
)
def test_cells_count_what_the_terminal_moves(text, count):
    assert cells(text) == count


def test_only_right_to_left_text_is_isolated():
    assert isolate("Haus") == "Haus"
    assert isolate("שלום") == "\u2068שלום\u2069"
    assert isolate("a مرحبا") == "\u2068a مرحبا\u2069"


def test_ems_grow_with_the_script_and_ignore_marks():
    assert ems("ill") < ems("nnn") < ems("WWW")
    assert ems("e\u0301") == ems("e")
    assert ems("日") > 1.0
    assert ems("\ufdfd") > 7.22  # one character, drawn as a whole sentence
    assert ems("\ufdfa") > 7  # another one, measured as its eighteen letters


@pytest.mark.parametrize(
    ("text", "limit", "lines"),
    [
        ("one two three", 7, ["one two", "three"]),
        ("Donaudampfschiff", 6, ["Donaud", "ampfsc", "hiff"]),
        ("a Donaudampf b", 6, ["a Dona", "udampf", "b"]),
        ("日本語", 4, ["日本", "語"]),
        ("e\u0301e\u0301e\u0301", 2, ["e\u0301e\u0301", "e\u0301"]),
        ("short", 80, ["short"]),
    ],
)
def test_folding_breaks_at_spaces_then_between_graphemes(text, limit, lines):
    assert fold(text, limit) == lines


@settings(deadline=None)
@given(ANY_TEXT, st.integers(1, 20))
def test_folding_loses_nothing_but_the_spaces_it_breaks_at(label, limit):
    shown = visible(label)
    lines = fold(shown, limit)
    assert "".join(lines).replace(" ", "") == shown.replace(" ", "")
    for line in lines:
        assert cells(line) <= limit or len(graphemes(line)) == 1
