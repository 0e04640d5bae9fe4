"""Unknown words become words of the user's own text; every replacement is listed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qkv.search import replace_unknown
from qkv.text import UNK, Encoded, Token, words_of


def encoded(text: str) -> Encoded:
    """Cut at whitespace, all words unknown, symbols in lower case."""
    words = words_of(text)
    tokens = [Token(word.text.lower(), word.start, word.end) for word in words]
    return Encoded(text, tokens, [UNK] * len(tokens))


SOURCE = encoded("Le  Zoë Łódź.")
ATTENTION = torch.tensor([[0.6, 0.1, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4]])


def test_an_unknown_word_becomes_the_raw_source_word_with_the_most_attention_but_never_eos():
    replaced = replace_unknown([7, UNK, UNK], ["the", "<unk>", "<unk>"], ATTENTION, SOURCE)
    assert replaced.pieces == ("the", "Łódź.", "Zoë")
    assert [(r.position, r.word, r.start, r.end) for r in replaced.trace] == [
        (1, "Łódź.", 8, 13),
        (2, "Zoë", 4, 7),
    ]
    assert [r.weight for r in replaced.trace] == [ATTENTION[1, 2].item(), ATTENTION[2, 1].item()]
    assert all(SOURCE.text[r.start : r.end] == r.word for r in replaced.trace)


def test_a_dictionary_translates_what_it_holds_and_the_trace_says_so():
    replaced = replace_unknown([UNK, UNK], ["<unk>"] * 2, ATTENTION, SOURCE, {"Le": "the"})
    assert replaced.pieces == ("the", "Łódź.")
    assert [(r.word, r.text) for r in replaced.trace] == [("Le", "the"), ("Łódź.", "Łódź.")]


def test_the_space_in_a_subword_is_not_copied_and_a_blank_token_is_no_word():
    source = Encoded("a bc", [Token("▁", 0, 0), Token("a", 0, 1), Token("▁bc", 1, 4)], [4, 5, 6])
    rows = torch.tensor([[0.7, 0.1, 0.15, 0.05]])
    replaced = replace_unknown([UNK], ["<unk>"], rows, source)
    assert replaced.pieces == ("bc",)
    assert (replaced.trace[0].start, replaced.trace[0].end) == (2, 4)


def test_subwords_are_put_together_to_the_whole_source_word_and_their_attention_is_summed():
    source = Encoded("a bcd", [Token("a", 0, 1), Token("▁b", 1, 3), Token("cd", 3, 5)], [4, 5, 6])
    rows = torch.tensor([[0.375, 0.25, 0.25, 0.125]])
    replaced = replace_unknown([UNK], ["<unk>"], rows, source, units=words_of(source.text))
    assert replaced.pieces == ("bcd",)
    assert replaced.trace[0] == (0, "bcd", 2, 5, "bcd", 0.5)


def test_known_words_and_an_empty_source_are_left_as_they_are():
    assert replace_unknown([7, 8], ["a", "b"], ATTENTION, SOURCE).pieces == ("a", "b")
    empty = replace_unknown([UNK], ["<unk>"], torch.ones(2, 1), Encoded("", [], []))
    assert empty.pieces == ("<unk>",) and empty.trace == ()


def test_a_model_without_attention_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="has no attention, so nothing says"):
        replace_unknown([UNK], ["<unk>"], None, SOURCE)


def test_attention_or_pieces_of_another_output_are_refused():
    with pytest.raises(ValueError, match="3 x 4, for 1 output tokens and 2 source tokens"):
        replace_unknown([UNK], ["<unk>"], ATTENTION, encoded("two words"))
    with pytest.raises(ValueError, match="3 x 4, for 4 output tokens"):
        replace_unknown([UNK] * 4, ["<unk>"] * 4, ATTENTION, SOURCE)
    with pytest.raises(ValueError, match="1 pieces for 2 output tokens"):
        replace_unknown([UNK, 5], ["<unk>"], ATTENTION, SOURCE)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(alphabet="aé漢😀 \t", max_size=12), st.integers(0, 5), st.integers(0, 99))
def test_every_unknown_word_becomes_a_word_inside_the_sentence(text, count, seed):
    source = encoded(text)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(count + 1, len(source.tokens) + 1, generator=generator)
    replaced = replace_unknown([UNK] * count, ["<unk>"] * count, rows, source)
    assert len(replaced.trace) == (count if text.split() else 0)
    for one in replaced.trace:
        assert one.text in text.split() and text[one.start : one.end] == one.text
