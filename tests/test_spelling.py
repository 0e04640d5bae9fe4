from __future__ import annotations

import pytest

from qkv.spelling import did_you_mean, edits, nearest


@pytest.mark.parametrize(
    ("a", "b", "count"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("heads", "heds", 1),
        ("heads", "haeds", 1),
        ("ab", "ba", 1),
        ("ca", "abc", 3),  # restricted: ca, ac, abc would edit the swapped letters again
    ],
)
def test_edits_are_counted_with_swaps_as_one(a: str, b: str, count: int):
    assert edits(a, b) == edits(b, a) == count


def test_the_nearest_word_is_the_one_with_the_fewest_edits():
    words = ["encoder_attention", "decoder_attention", "cross_attention"]
    assert nearest("xecoder_attention", words) == "decoder_attention"
    assert nearest("epohcs", ["epoch", "epochs"]) == "epochs"


def test_a_word_like_no_other_has_no_nearest():
    assert nearest("zzzzz", ["beam", "alpha"]) is None
    assert did_you_mean("zzzzz", ["beam", "alpha"]) == ""
    assert did_you_mean("beem", ["beam", "alpha"]) == " Did you mean 'beam'?"
