"""PER, WER and accuracy against the textbook recursion."""

from __future__ import annotations

import functools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.evaluate import accuracy, edit_distances, per, wer

WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def recursion(a, b) -> int:
    """Wagner and Fischer's definition, as a recursion."""

    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return distance(len(a), len(b))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(WORDS, WORDS), max_size=9))
def test_distances_of_many_pairs_equal_the_recursion(pairs):
    found = edit_distances([a for a, _ in pairs], [b for _, b in pairs])
    assert found.tolist() == [recursion(a, b) for a, b in pairs]


def test_distances_do_not_depend_on_how_many_pairs_go_at_once():
    draw = random.Random(1)
    pairs = [
        (draw.choices("abcd", k=draw.randrange(13)), draw.choices("abcd", k=draw.randrange(17)))
        for _ in range(1100)
    ]
    found = edit_distances([a for a, _ in pairs], [b for _, b in pairs]).tolist()
    assert found == [recursion(a, b) for a, b in pairs]
    with pytest.raises(ValueError, match="1 hypotheses for 0 references"):
        edit_distances([["a"]], [])


def test_per_is_total_edits_over_the_length_of_the_closest_references():
    hypotheses = ["K AE T", "D AO G Z", ""]
    references = [["K AA T", "K AE T S S"], ["D AO G"], ["AH"]]
    # closest: K AA T (1 edit, length 3); D AO G (1, 3); AH (1, 1)
    assert per(hypotheses, references).value == 100 * 3 / 7


def test_of_equally_close_references_the_longest_counts_whatever_their_order():
    short, long = "A", "A B C"  # one edit from A B, each
    assert per(["A B"], [[short, long]]).value == 100 * 1 / 3
    assert per(["A B"], [[long, short]]).value == 100 * 1 / 3


def test_per_may_exceed_100():
    assert per(["a b c"], ["x"]).value == 300.0


def test_wer_counts_words_that_equal_none_of_their_references():
    hypotheses = ["K AE T", "D AO G", "B  IH G", "S"]
    references = [["K AA T", "K AE T"], ["D AA G"], ["B IH G"], ["T", "Z"]]
    assert wer(hypotheses, references).value == 50.0
    assert accuracy(hypotheses, references).value == 50.0


def test_references_without_a_token_are_refused():
    with pytest.raises(ValueError, match="hold no token"):
        per(["a"], [""])
