"""The drawings for terminals and logs, checked by hand."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.view import Figure, letters, terminal
from qkv.view.labels import cells, graphemes

ESCAPE = re.compile("\x1b\\[[0-9;]*m")
ANY_LABEL = st.text(st.characters(exclude_categories=()), max_size=8)


def test_short_labels_stand_upright_above_their_columns(cat):
    assert terminal(cat, 80, colour=False).splitlines() == [
        "cat",
        "additive",
        "rows: target (3), columns: source (3)",
        "",
        "   c a t",
        " K ▓▓░░··",
        "AE ··██··",
        " T ····██",
        "",
        "·· 0  ░░ 0.25  ▒▒ 0.5  ▓▓ 0.75  ██ 1",
    ]


def test_labels_of_unequal_length_end_just_above_the_matrix():
    figure = Figure([[1.0, 0.0]], ["x"], ["abc", "d"], "")
    assert terminal(figure, 80, colour=False).splitlines()[2:6] == [
        "  a",
        "  b",
        "  c d",
        "x ██··",
    ]


def test_long_labels_hang_on_stairs():
    figure = Figure([[0.5, 0.5, 0.0]], ["le"], ["agreement", "on", "the"], "")
    assert terminal(figure, 80, colour=False).splitlines()[2:6] == [
        "   ┌ agreement",
        "   │ ┌ on",
        "   │ │ ┌ the",
        "le ████··",
    ]


def test_wide_characters_take_two_cells_and_marks_none():
    figure = Figure([[1.0, 0.0], [0.0, 1.0]], ["日本", "e\u0301"], ["語", "n\u0303"], "")
    lines = terminal(figure, 80, colour=False).splitlines()[2:5]
    assert lines == ["     語n\u0303", "日本 ██··", "   e\u0301 ··██"]
    assert [cells(line) for line in lines] == [8, 9, 9]


def test_right_to_left_labels_are_isolated_and_never_stacked():
    figure = Figure([[1.0]], ["שלום"], ["مرحبا"], "")
    assert terminal(figure, 80, colour=False).splitlines()[2:4] == [
        "     ┌ \u2068مرحبا\u2069",
        "\u2068שלום\u2069 ██",
    ]


def test_a_joined_emoji_is_one_cell_of_the_stack():
    figure = Figure([[1.0, 0.0]], ["x"], ["👩‍👩‍👧", "🇩🇪"], "")
    assert terminal(figure, 80, colour=False).splitlines()[2:4] == ["  👩‍👩‍👧🇩🇪", "x ██··"]


def test_control_characters_reach_no_terminal():
    figure = Figure([[1.0]], ["\x1b[2J\n"], ["\u202ereversed"], "\x07title", "\r")
    drawing = terminal(figure, 80, colour=False)
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", drawing)
    assert "\\x1b[2J\\n" in drawing
    assert "\\x07title" in drawing


def test_a_matrix_wider_than_the_terminal_goes_on_in_panels():
    weights = np.eye(12)[:1]
    figure = Figure(weights, ["row"], list("abcdefghijkl"), "")
    assert terminal(figure, 20, colour=False).splitlines() == [
        "rows: target (1),",
        "columns: source (12)",
        "",
        "source 1–8 of 12",
        "",
        "    a b c d e f g h",
        "row ██··············",
        "",
        "source 9–12 of 12",
        "",
        "    i j k l",
        "row ········",
        "",
        "·· 0",
        "░░ 0.25",
        "▒▒ 0.5",
        "▓▓ 0.75",
        "██ 1",
    ]


def test_long_words_are_folded_not_cut():
    word = "Rindfleischetikettierungsüberwachungsgesetz"
    lines = terminal(Figure([[1.0]], [word], [word], ""), 30, colour=False).splitlines()
    stairs = [line for line in lines if re.match(" +[┌│] ", line)]
    rows = [line for line in lines if line.endswith(" ██") and not line.startswith("██")]
    assert "".join(line.split(maxsplit=1)[1] for line in stairs) == word
    assert "".join(line.removesuffix(" ██").strip() for line in rows) == word


def test_a_faint_map_gets_a_finer_scale_and_says_so():
    figure = Figure(np.full((1, 40), 1 / 40), ["x"], ["s"] * 40, "")
    drawing = terminal(figure, 120, colour=False)
    assert "▒" * 80 in drawing  # 0.025 on a scale to 0.05
    assert drawing.splitlines()[-1] == "·· 0  ░░ 0.0125  ▒▒ 0.025  ▓▓ 0.0375  ██ 0.05"


@pytest.mark.parametrize(
    ("promise", "pattern"),
    [("truecolor", "\x1b[48;2;244;246;200m  \x1b[0m"), ("", "\x1b[48;5;230m  \x1b[0m")],
)
def test_colour_fills_the_same_cells_in_24_bits_or_256_colours(cat, monkeypatch, promise, pattern):
    monkeypatch.setenv("COLORTERM", promise)
    drawing = terminal(cat, 80, colour=True)
    plain = terminal(cat, 80, colour=False)
    assert drawing.count(pattern) == 3  # two weights of 1, and the scale
    assert ESCAPE.sub("", drawing).splitlines()[4] == plain.splitlines()[4]
    assert [cells(ESCAPE.sub("", line)) for line in drawing.splitlines()] == [
        cells(line) for line in plain.splitlines()
    ]


def test_colour_is_for_terminals_only_and_no_color_is_obeyed(cat, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" not in terminal(cat, 80)  # pytest captures standard output: not a terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b" in terminal(cat, 80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in terminal(cat, 80)


def test_width_comes_from_the_terminal(cat, monkeypatch):
    monkeypatch.setenv("COLUMNS", "24")
    wide = Figure(np.eye(1, 30), ["x"], list("abcdefghijklmnopqrstuvwxyzabcd"), "")
    assert max(cells(line) for line in terminal(wide, colour=False).splitlines()) <= 24


@settings(deadline=None)
@given(
    labels=st.lists(ANY_LABEL, max_size=30),
    rows=st.integers(0, 3),
    width=st.integers(20, 120),
    title=ANY_LABEL,
)
def test_whatever_the_labels_every_column_of_every_row_is_drawn_within_the_width(
    labels, rows, width, title
):
    target = [f"row{row}" for row in range(rows)]
    figure = Figure(np.ones((rows, len(labels))), target, labels, title)
    lines = terminal(figure, width, colour=False).splitlines()
    for name in target:
        cells_drawn = [line[5:] for line in lines if re.fullmatch(f"{name} [█]*", line)]
        assert sum(map(len, cells_drawn)) == 2 * len(labels)
    for line in lines:
        widest = max(map(cells, graphemes(line)), default=0)
        assert cells(line) <= width or widest > 2


def test_a_figure_without_rows_or_columns_is_drawn_empty():
    assert "target (0)" in terminal(Figure(np.zeros((0, 2)), [], ["a", "b"], ""), 80)
    assert "source (0)" in terminal(Figure(np.zeros((2, 0)), ["a", "b"], [], ""), 80)


def test_letters_pair_each_target_with_the_source_it_attends_to_most(cat):
    assert letters(cat) == "c-K a-AE t-T"


def test_letters_without_a_phoneme_are_kept_and_several_phonemes_share_a_letter():
    cake = Figure(np.eye(4)[:3], ["K", "EY", "K"], list("cake"), "")
    assert letters(cake) == "c-K a-EY k-K e-_"
    box = Figure(np.eye(3)[[0, 1, 2, 2]], ["B", "AA", "K", "S"], list("box"), "")
    assert letters(box) == "b-B o-AA x-K+S"


def test_letters_of_a_reordering_follow_the_source():
    assert letters(Figure([[0, 1.0], [1.0, 0]], ["X", "Y"], ["a", "b"], "")) == "a-Y b-X"


def test_a_target_that_attends_to_nothing_and_an_empty_target_lose_no_token():
    assert letters(Figure([[0, 0.0], [0.2, 0.8]], ["X", "Y"], ["a", "b"], "")) == "a-_ b-Y _-X"
    assert letters(Figure(np.zeros((0, 2)), [], ["a", "b"], "")) == "a-_ b-_"
