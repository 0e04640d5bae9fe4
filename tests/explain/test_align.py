"""Alignments in words of the user's own text."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from qkv.explain import LINKERS, align_tokens, align_words
from qkv.text import Encoded, Token, words_of
from qkv.text.tokens import assign


def cut(text: str, *ends: int) -> Encoded:
    """Cut a text into tokens that end at these places."""
    starts = [0, *ends]
    tokens = [Token(text[a:b], a, b) for a, b in zip(starts, ends, strict=False)]
    return Encoded(text, tokens, list(range(4, 4 + len(tokens))))


# "the| cat|s sat" and "les| chat|s| as|sis", the spaces in front of words, as subwords have them
SOURCE = cut("the cats  sat", 3, 7, 8, 13)
TARGET = cut("les chats assis", 3, 8, 9, 12, 15)
ATTENTION = torch.tensor(
    [
        [0.70, 0.10, 0.10, 0.05, 0.05],
        [0.10, 0.30, 0.30, 0.20, 0.10],
        [0.05, 0.25, 0.15, 0.40, 0.15],
        [0.00, 0.10, 0.20, 0.60, 0.10],
        [0.00, 0.05, 0.05, 0.30, 0.60],
        [0.00, 0.00, 0.00, 0.10, 0.90],  # the row of EOS
    ]
)
WORDS = torch.tensor([[0.70, 0.20, 0.05], [0.075, 0.50, 0.30], [0.00, 0.20, 0.45]])
EPS = torch.finfo(torch.float32).eps


def test_source_tokens_are_summed_and_target_tokens_averaged_into_words():
    found = align_words(ATTENTION, SOURCE, TARGET)
    assert [word.text for word in found.source] == ["the", "cats", "sat"]
    assert [word.text for word in found.target] == ["les", "chats", "assis"]
    assert_close(found.matrix, WORDS, rtol=0, atol=4 * EPS)  # sums of at most 4 shares
    assert found.pharaoh() == "0-0 1-1 2-2"
    assert found.pairs() == "the-les cats-chats sat-assis"


@pytest.mark.parametrize("rows", [5, 6])
def test_an_output_that_was_cut_has_no_row_of_eos_and_aligns_alike(rows):
    assert align_words(ATTENTION[:rows], SOURCE, TARGET).pharaoh() == "0-0 1-1 2-2"


def test_tokens_are_aligned_without_eos_even_where_it_has_the_most_weight():
    found = align_tokens(ATTENTION, SOURCE, TARGET)
    assert found.matrix.shape == (5, 4)
    assert [(link.source, link.target) for link in found.links] == [
        (0, 0), (1, 1), (3, 2), (3, 3), (3, 4),
    ]  # fmt: skip
    assert found.pharaoh() == "0-0 1-1 3-2 3-3 3-4"
    assert [link.weight for link in found.links] == [
        ATTENTION[link.target, link.source].item() for link in found.links
    ]


def test_renormalised_rows_sum_to_1_and_rows_without_mass_stay_0():
    attention = ATTENTION.clone()
    attention[3:5] = torch.tensor([0, 0, 0, 0, 1.0])
    plain = align_words(attention, SOURCE, TARGET)
    shared = align_words(attention, SOURCE, TARGET, renormalize=True)
    assert_close(shared.matrix.sum(1), torch.tensor([1.0, 1.0, 0.0]), rtol=0, atol=4 * EPS)
    assert_close(plain.matrix.sum(1), torch.tensor([0.95, 0.875, 0.0]), rtol=0, atol=8 * EPS)
    assert plain.pharaoh() == shared.pharaoh() == "0-0 1-1"  # assis looked at EOS alone
    assert shared.json()["renormalized"] and not plain.json()["renormalized"]


@pytest.mark.parametrize(
    ("method", "threshold", "expected"),
    [
        ("argmax", 0.5, "0-1 2-0 2-2"),
        ("argmax-source", 0.5, "0-1 1-1 2-0"),
        ("mutual", 0.5, "0-1 2-0"),
        ("threshold", 0.3, "0-1 1-1 2-0 2-2"),
        ("threshold", 0.7, "2-0"),
    ],
)
def test_each_method_picks_its_links(method, threshold, expected):
    text = cut("a b c", 1, 3, 5)
    rows = torch.tensor([[0.1, 0.2, 0.7, 0.0], [0.4, 0.3, 0.2, 0.1], [0.0, 0.1, 0.5, 0.4]])
    found = align_words(rows, text, text, method=method, threshold=threshold)
    assert found.pharaoh() == expected


def test_json_gives_words_with_offsets_into_the_original_text_and_weighted_links():
    found = align_words(ATTENTION, SOURCE, TARGET, method="threshold", threshold=0.45)
    tree = json.loads(json.dumps(found.json()))
    assert tree["method"] == "threshold 0.45"
    assert tree["source"][2] == {"text": "sat", "start": 10, "end": 13}
    assert all(SOURCE.text[w["start"] : w["end"]] == w["text"] for w in tree["source"])
    assert tree["links"][0] == {"source": 0, "target": 0, "weight": found.matrix[0, 0].item()}
    assert tree["matrix"] == found.matrix.tolist()


def test_letters_and_phonemes_give_the_map_of_a_pronunciation():
    letters, sounds = cut("cat", 1, 2, 3), Encoded("K AE T", words_of("K AE T"), [4, 5, 6])
    rows = torch.eye(4) * 0.7 + 0.075
    assert align_tokens(rows, letters, sounds).pairs() == "c-K a-AE t-T"


@pytest.mark.parametrize("align", [align_tokens, align_words])
@pytest.mark.parametrize("method", LINKERS)
def test_an_empty_text_on_either_side_has_no_links(align, method):
    empty, word = Encoded("", [], []), cut("a", 1)
    assert align(torch.ones(1, 2), word, empty, method=method).links == ()
    assert align(torch.ones(2, 1), empty, word, method=method).links == ()
    blank = cut("  ", 1, 2)
    assert align_words(torch.ones(3, 2), word, blank, method=method).pharaoh() == ""
    assert align_words(torch.ones(2, 3), blank, word, method=method).pharaoh() == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: align_words(ATTENTION[:4], SOURCE, TARGET),
            "is 4 x 5, but 5 target and 4 source",
        ),
        (lambda: align_tokens(ATTENTION[:, :4], SOURCE, TARGET), "need 6 x 5"),
        (lambda: align_words(ATTENTION, SOURCE, TARGET, method="max"), "'max'; allowed: argmax"),
        (lambda: align_words(ATTENTION, SOURCE, TARGET, threshold=0), "threshold = 0"),
    ],
)
def test_bad_input_is_refused_with_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@st.composite
def texts(draw) -> Encoded:
    """Any text, cut anywhere, with an empty mark in front, as a subword tokeniser may put it."""
    text = draw(st.text(alphabet="aé漢😀\u0301 \t\u3000", max_size=9))
    ends = sorted(draw(st.sets(st.integers(1, len(text))))) if text else []
    found = cut(text, *ends)
    mark = [Token("▁", 0, 0)] if draw(st.booleans()) else []
    tokens = [*mark, *found.tokens]
    return Encoded(text, tokens, [4] * len(tokens))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    texts(), texts(), st.sampled_from(list(LINKERS)), st.booleans(), st.floats(0.01, 1),
    st.integers(0, 99),
)  # fmt: skip
def test_mass_is_kept_and_indices_are_in_range(
    source, target, method, renormalize, threshold, seed
):
    generator = torch.Generator().manual_seed(seed)
    shape = (len(target.tokens) + 1, len(source.tokens) + 1)
    attention = torch.rand(shape, generator=generator).double()
    attention /= attention.sum(1, keepdim=True)
    words = [word.text for word in words_of(source.text)], [w.text for w in words_of(target.text)]
    found = align_words(
        attention, source, target, method=method, threshold=threshold, renormalize=renormalize
    )
    assert words == ([w.text for w in found.source], [w.text for w in found.target])
    assert found.matrix.shape == (len(words[1]), len(words[0]))
    for link in found.links:
        assert 0 <= link.source < len(words[0]) and 0 <= link.target < len(words[1])
    if words[0] and words[1] and not renormalize:
        # A row sums to 1 less its tokens' mean weight on EOS; weighted by the number of tokens,
        # the rows sum to all that the target tokens put on the source words.
        members = assign(target.tokens, list(found.target))
        counts = torch.tensor([members.count(i) for i in range(len(words[1]))]).double()
        assert_close(counts @ found.matrix.sum(1), (1 - attention[:-1, -1]).sum())
