"""AER by hand, its bounds, and the files of gold links."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkv.evaluate import aer, pair_texts, read_gold

links = st.frozensets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)
corpora = st.lists(st.tuples(links, links, links), max_size=4)


def columns(rows: Sequence[tuple]) -> tuple[list, list, list]:
    """Return lists of predicted, sure and possible links."""
    return tuple([row[i] for row in rows] for i in range(3))  # type: ignore[return-value]


def test_a_worked_example_of_two_sentences():
    """|A| = 3 + 1, |S| = 2 + 1; in S: 1 + 0; in P: 2 + 1, so AER = 1 - (1 + 3) / (4 + 3)."""
    found = aer(
        [{(0, 0), (1, 2), (2, 1)}, {(0, 1)}],
        [{(0, 0), (2, 2)}, {(0, 0)}],
        [{(0, 0), (2, 2), (1, 2)}, {(0, 0), (0, 1)}],
    )
    assert (found.predicted, found.sure, found.in_sure, found.in_possible) == (4, 3, 1, 3)
    assert found.precision == 3 / 4
    assert found.recall == 1 / 3
    assert found.aer == 1 - 4 / 7
    assert str(found) == "AER = 42.86, precision = 75.00, recall = 33.33 (4 links, 3 sure ones)"


def test_without_possible_links_it_is_one_less_the_f_measure():
    """Precision 1/2 and recall 1/3 have the harmonic mean 2/5."""
    found = aer([{(0, 0), (1, 1)}], [{(0, 0), (1, 2), (2, 2)}], [set()])
    assert found.aer == pytest.approx(1 - 2 / 5)


@given(corpora)
def test_it_and_its_parts_are_shares(rows):
    found = aer(*columns(rows))
    for share in (found.aer, found.precision, found.recall):
        assert 0 <= share <= 1


@given(corpora)
def test_links_between_the_sure_and_the_possible_ones_are_perfect(rows):
    _, sure, possible = columns(rows)
    between = [s | (a & p) for a, s, p in rows]
    assert aer(between, sure, possible).aer == 0
    assert aer(between, sure, possible).precision == 1
    assert aer(between, sure, possible).recall == 1


@given(corpora)
def test_links_that_no_gold_has_and_none_of_which_is_found_are_all_wrong(rows):
    _, sure, possible = columns(rows)
    outside = [{(i + 5, j) for i, j in a} | {(9, 9)} for a, _, _ in rows]
    assert aer(outside, sure, possible).aer == (1 if rows else 0)


@given(corpora)
def test_the_counts_are_of_the_corpus_not_means_of_sentences(rows):
    whole = aer(*columns(rows))
    parts = [aer(*columns([row])) for row in rows]
    for name in ("predicted", "sure", "in_sure", "in_possible"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="links of 1 sentences, but sure links of 2"):
        aer([set()], [set(), set()], [set()])


@pytest.mark.parametrize("name", ["", "sentence-7\t"])
@pytest.mark.parametrize("mark", ["?", "p", "P"])
def test_a_file_with_texts_tells_sure_from_possible_links(tmp_path: Path, name: str, mark: str):
    path = tmp_path / "gold.tsv.xz"
    text = f"{name}le chat  noir\tthe black cat\t0-0 1-2 2{mark}2\n{name}non\tno\t\n"
    path.write_bytes(lzma.compress(text.encode()))
    first, second = read_gold(str(path))
    assert first.sure == {(0, 0), (1, 2)}
    assert first.possible == {(0, 0), (1, 2), (2, 2)}
    assert (second.sure, second.possible, second.line) == (set(), set(), 2)
    assert pair_texts([first, second], "") == (["le chat  noir", "non"], ["the black cat", "no"])


def test_a_file_of_links_alone_has_an_empty_line_for_a_pair_without_links(tmp_path: Path):
    path = tmp_path / "gold.pharaoh"
    path.write_text("0-0 10?3\n\n1-1\n")
    gold = read_gold(str(path))
    assert [sorted(one.possible) for one in gold] == [[(0, 0), (10, 3)], [], [(1, 1)]]
    assert [len(one.sure) for one in gold] == [1, 0, 1]
    with pytest.raises(ValueError, match="holds links alone"):
        pair_texts(gold, "gold.pharaoh")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a\tb\n", ":1: 2 columns; a line of gold links is links, or source<TAB>target<TAB>links"),
        ("a\tb\t0-0\n0-0\n", ":2: 1 columns, wanted 3 as in the first line"),
        ("0-0 0x1\n", ":1: '0x1' is no link; write i-j"),
        ("0--1\n", ":1: '0--1' is no link"),
        (
            "a\tb\t0-0\na b\tc\t1-1\n",
            ":2: the link of words 1 and 1, but there are 2 source and 1",
        ),
    ],
)
def test_a_line_that_is_not_of_the_form_is_named(tmp_path: Path, text: str, said: str):
    path = tmp_path / "gold.tsv"
    path.write_text(text)
    with pytest.raises(ValueError) as refused:
        read_gold(str(path))
    assert said in str(refused.value) and str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("folder", "file", "pairs", "sure", "possible"),
    [
        ("alignment-gold", "enfr.tsv.xz", 447, 4038, 17438),
        ("bible-grc-en", "dev.tsv.xz", 455, None, None),
    ],
)
def test_the_published_gold_links_are_read_whole(
    folder, file, pairs, sure, possible, corpus_folder
):
    """Their description: 4,038 sure and 13,400 possible ones; those of the bible are all sure."""
    gold = read_gold(str(Path(corpus_folder(folder)) / file))
    assert len(gold) == pairs
    found = (sum(len(one.sure) for one in gold), sum(len(one.possible) for one in gold))
    assert found == (sure, possible) if sure else found[0] == found[1] > 0
    sure_links, possible_links = [one.sure for one in gold], [one.possible for one in gold]
    assert aer(sure_links, sure_links, possible_links).aer == 0
