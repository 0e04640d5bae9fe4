"""Where it is known whether attention explains, the tests say so (research: users' wish 40)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planted import Faithful, Ignoring, planted

from qkv.explain.faithfulness import TESTS, Material, Settings
from qkv.explain.faithfulness.agreement import read as agree
from qkv.explain.faithfulness.finding import Estimate
from qkv.explain.faithfulness.permutation import read
from qkv.explain.faithfulness.verdict import FEWEST, judge

pytest.importorskip("scipy", reason="scipy is not installed (qkv[explain])")
FEW = Settings(permutations=40, adversaries=3, steps=120)


def silent(_share: float, _text: str) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def findings():
    """What each test finds of each planted model."""
    models = {"faithful": Faithful(), "ignoring": Ignoring()}
    return {
        name: {
            test: TESTS[test].load()(Material(planted(model), FEW), silent)[0]
            for test in TESTS
            if not TESTS[test].trains
        }
        for name, model in models.items()
    }


def test_attention_that_decides_by_construction_is_found_faithful(findings):
    found = findings["faithful"]
    readings = {name: one.reading for name, one in found.items()}
    assert readings.pop("permutation") in ("for", "open")  # it moves the output, but how far?
    assert set(readings.values()) == {"for"}, readings
    assert judge(list(found.values())).kind == "faithful"


def test_attention_that_is_ignored_by_construction_is_found_ignored(findings):
    found = findings["ignoring"]
    assert {one.reading for one in found.values()} == {"against"}
    assert judge(list(found.values())).kind == "ignored"
    assert "do not explain" in judge(list(found.values())).says


def test_ignored_weights_move_nothing_and_adversaries_reach_far(findings):
    found = findings["ignoring"]
    assert found["permutation"].value.high < 1e-9  # sums in another order
    assert found["adversarial"].value.mean > 0.4 > found["adversarial"].baseline.low


def test_decisive_weights_leave_adversaries_little_room(findings):
    found = findings["faithful"]["adversarial"]
    assert 0 < found.value.mean < 0.1
    assert found.value.mean >= found.baseline.mean


def test_every_finding_has_a_baseline_n_and_an_interval_and_is_plain_json(findings):
    for found in (one for model in findings.values() for one in model.values()):
        tree = found.json()
        assert tree["value"]["n"] == 40 and tree["baseline"]["n"] > 1
        assert tree["value"]["low"] <= tree["value"]["mean"] <= tree["value"]["high"]
        assert tree["baseline"]["of"] and tree["says"].endswith(".")


def test_a_verdict_needs_most_tests_and_none_that_disagrees(findings):
    good, bad = findings["faithful"]["gradient"], findings["ignoring"]["adversarial"]
    unsure = replace(good, reading="open")
    for found, kind in (
        ((good, good, unsure), "faithful"),
        ((good, unsure), "mixed"),
        ((good, good, bad), "mixed"),
        ((bad, bad, unsure), "unfaithful"),
        ((bad, unsure), "mixed"),
        ((), "mixed"),
    ):
        assert judge(found).kind == kind
    assert judge((good, unsure, bad)).says.endswith(
        "explanation: gradient; against it: adversarial; undecided: gradient."
    )


def test_even_weights_that_may_change_places_are_not_called_ignored():
    """Random weights tell whether the output depends on weights at all."""
    still, moved = (Estimate(mean, 0.0, 9, mean, mean) for mean in (0.001, 0.1))
    assert read(still, still, moved, 0.01)[0] == "against"
    assert read(still, moved, moved, 0.01)[0] == "open"
    assert read(moved, moved, moved, 0.01)[0] == "for"
    assert read(moved, moved, Estimate(0.9, 0.0, 9, 0.9, 0.9), 0.01)[0] == "open"


def test_too_few_examples_settle_nothing_whatever_their_intervals_say(findings):
    """The bootstrap interval of five equal values has no width, and is no certainty."""
    for name in findings:
        few = [
            replace(one, value=replace(one.value, n=FEWEST - 1)) for one in findings[name].values()
        ]
        assert judge(few).kind == "mixed"
        assert f"{FEWEST - 1} examples are too few" in judge(few).says


def test_a_tau_that_a_few_examples_leave_open_does_not_speak_against_the_weights():
    shuffled = Estimate(0.0, 0.3, 9, -0.2, 0.2)
    for low, high, reading in (
        (0.6, 0.8, "for"),
        (-0.1, 0.3, "against"),
        (0.1, 0.7, "open"),  # as well strong as no better than shuffled
        (0.3, 0.4, "open"),
    ):
        value = Estimate((low + high) / 2, 0.3, 9, low, high)
        assert agree(value, shuffled, "the gradient")[0] == reading


def test_a_verdict_against_the_weights_says_against_what(findings):
    bad = replace(findings["ignoring"]["adversarial"], reading="against")
    assert judge((bad,)).says.startswith(
        "Most tests speak against the weights as an explanation. "
    )
