"""F1 and its kin, against counts made by loops."""

from __future__ import annotations

import random

import pytest
from torch.testing import assert_close

from qkv.evaluate import evaluate
from qkv.evaluate.labels import f1_binary, f1_macro, f1_micro, label_table, token_accuracy

# Each value is a few operations on numbers up to 100.
CLOSE = {"rtol": 0.0, "atol": 1e-11}


def f1_by_loops(given: list[str], there: list[str], label: str) -> float:
    """F1 as the harmonic mean of precision and recall, each counted by itself."""
    right = wrong = missed = 0
    for hypothesis, reference in zip(given, there, strict=True):
        right += hypothesis == label and reference == label
        wrong += hypothesis == label and reference != label
        missed += hypothesis != label and reference == label
    if right == 0:
        return 0.0
    precision, recall = right / (right + wrong), right / (right + missed)
    return 100 * 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(20))
def test_every_mean_of_f1_equals_the_loops(seed: int):
    dice = random.Random(seed)
    labels = "abcde"[: dice.randint(2, 5)]
    there = [dice.choice(labels) for _ in range(dice.randint(5, 40))]
    given = [dice.choice([one, dice.choice(labels)]) for one in there]
    table = {score.label: score for score in label_table(given, there).scores}
    for label in set(there) | set(given):
        assert_close(table[label].f1, f1_by_loops(given, there, label), **CLOSE)
    known = sorted(set(there))
    mean = sum(f1_by_loops(given, there, label) for label in known) / len(known)
    assert_close(f1_macro(given, there).value, mean, **CLOSE)
    share = 100 * sum(a == b for a, b in zip(given, there, strict=True)) / len(there)
    assert_close(f1_micro(given, there).value, share, **CLOSE)
    assert_close(token_accuracy(given, there).value, share, **CLOSE)
    if len(table) == 2:
        last = f1_by_loops(given, there, max(table))
        assert_close(f1_binary(given, there).value, last, **CLOSE)


def test_the_table_counts_what_was_taken_for_what():
    table = label_table(["a", "b", "a", "a"], ["a", "a", "a", "b"])
    assert [score.label for score in table.scores] == ["a", "b"]
    assert table.confusion == ((2, 1), (1, 0))
    first = table.scores[0]
    assert (first.there, first.given, first.right) == (3, 3, 2)
    assert_close((first.precision, first.recall, first.f1), (200 / 3,) * 3, **CLOSE)
    assert_close(table.scores[1].f1, 0.0)
    assert_close(table.majority, 75.0)
    assert "always a: 75.00 % right" in str(table)


def test_a_label_that_is_given_but_never_there_has_no_part_in_the_macro_mean():
    assert_close(f1_macro(["a", "c"], ["a", "a"]).value, 200 / 3, **CLOSE)


def test_tags_are_compared_word_for_word():
    assert_close(token_accuracy(["A B", "A"], ["A A", "A"]).value, 200 / 3, **CLOSE)
    result = evaluate(["A B", "A"], ["A A", "A"], ["accuracy", "token-accuracy"], by_label=True)
    assert_close(result["accuracy"].value, 50.0)
    assert result.json()["by_label"]["confusion"] == [[2, 1], [0, 0]]


@pytest.mark.parametrize(
    ("hypotheses", "references", "said"),
    [
        (["a b"], ["a"], "was given 2 labels, and its reference has 1"),
        (["a"], [["a", "b"]], "has 2 references"),
    ],
)
def test_what_cannot_be_compared_label_for_label_is_refused(hypotheses, references, said):
    with pytest.raises(ValueError, match=said):
        f1_macro(hypotheses, references)


def test_binary_f1_of_three_labels_is_refused():
    with pytest.raises(ValueError, match="f1-binary is for two labels, and here are 3"):
        f1_binary(["a", "b"], ["a", "c"])
