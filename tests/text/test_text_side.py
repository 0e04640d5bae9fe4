"""A side: text to ids to text, and tokens that know where they came from."""

from __future__ import annotations

import functools
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from qkv.config import TokenizerConfig
from qkv.text import BOS, EOS, PAD, SPECIALS, TOKENIZERS, UNK, Side

KINDS = tuple(TOKENIZERS)
SUBWORDS = ("bpe", "unigram")

# What breaks tokenisers: combining marks, right-to-left, CJK without spaces, joined emoji, letters
# that change length in lower case, every sort of space, and our own marks.
PARTS = [
    "cat", "Dog", " ", "  ", "\t", "\n", "\u00a0", "\u3000", "\u2028", "e\u0301", "é", "ﬁ", "ß",
    "İ", "ΑΣ", "Σ", "שלום", "مرحبا", "中文字", "日本", "👩‍👩‍👧", "🇫🇷", "\u200b", "\ufeff",
    "▁", "␣", "\ufdd0", "\ufdd1", "\u2047", "\0", "<s>", "</s>", "<pad>", "<unk>", "<",
    "10,000", "don't",
]  # fmt: skip
TRAINING = [
    "The cat sat on the mat; the dog did not.",
    "a <s> tag </s> and <unk> and <pad> twice: <s> <s> </s>",
    "e\u0301té  déjà\u00a0vu, ΑΣ Σ",
    "中文字 日本 שלום 👩‍👩‍👧 10,000 don't",
    "▁ and \ufdd0 and \0 are in here",
]
TEXTS = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=12).map("".join),
    st.text(max_size=30),
)
many = settings(max_examples=150, deadline=None, derandomize=True)


@functools.cache
def side(kind: str, lowercase: bool = False) -> Side:
    config = TokenizerConfig(kind=kind, size=300, lowercase=lowercase)
    return Side.train(config, TRAINING * 3)


sides = pytest.mark.parametrize(
    ("kind", "lowercase"), [(kind, lower) for kind in KINDS for lower in (False, True)]
)


@sides
@many
@given(text=TEXTS)
def test_each_token_is_what_its_span_of_the_original_text_says(kind, lowercase, text):
    assume(not (lowercase and "İ" in text))  # has a test of its own
    encoded = side(kind, lowercase).encode(text)

    assert encoded.text == text
    assert len(encoded.tokens) == len(encoded.ids)
    for i, token in enumerate(encoded.tokens):
        assert 0 <= token.start <= token.end <= len(text)
        raw = text[token.start : token.end]
        if lowercase:
            raw = raw.lower()
        if kind in SUBWORDS:
            raw = "▁" * (i == 0) + raw.replace("▁", "\ufdd0").replace(" ", "▁")
        # A capital sigma lowers by its place in the word.
        assert token.text.replace("ς", "σ") == raw.replace("ς", "σ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_letter_that_lowers_to_two_keeps_the_spans_of_what_follows(kind):
    tokens = side(kind, True).encode("Aİ İ ☃").tokens  # lower case has eight characters, not six

    if kind == "characters":  # a i ̇ _ i ̇ _ ☃
        starts = [0, 1, 1, 2, 3, 3, 4, 5]
        assert [(token.start, token.end) for token in tokens] == [(i, i + 1) for i in starts]
    elif kind == "words":
        assert [(token.start, token.end) for token in tokens] == [(0, 2), (3, 4), (5, 6)]
    else:
        covered = {i for token in tokens for i in range(token.start, token.end)}
        assert covered == set(range(6))
        assert (tokens[-1].start, tokens[-1].end) == (5, 6)


@pytest.mark.parametrize("kind", ["characters", *SUBWORDS])
@pytest.mark.parametrize("lowercase", [False, True])
@many
@given(text=TEXTS)
def test_spans_of_characters_and_subwords_side_by_side_are_the_text(kind, lowercase, text):
    tokens = side(kind, lowercase).encode(text).tokens

    # Characters that lower to two are covered by both; all others by exactly one token.
    covered = [0] * len(text)
    for token in tokens:
        for i in range(token.start, token.end):
            covered[i] += 1
    for character, times in zip(text, covered, strict=True):
        assert times == 1 or (lowercase and times <= len(character.lower()))
    assert [t.start for t in tokens] == sorted(t.start for t in tokens)


@many
@given(text=TEXTS)
def test_word_tokens_are_the_words_in_their_places(text):
    tokens = side("words").encode(text).tokens

    assert [text[token.start : token.end] for token in tokens] == text.split()
    assert all(a.end < b.start for a, b in pairwise(tokens))


@sides
@many
@given(text=TEXTS)
def test_ids_are_those_of_encode_and_never_a_control_symbol(kind, lowercase, text):
    ids = side(kind, lowercase).ids(text)

    assert ids == side(kind, lowercase).encode(text).ids
    assert not {PAD, BOS, EOS} & set(ids)


@pytest.mark.parametrize("kind", ["characters", *SUBWORDS])
@many
@given(text=TEXTS)
def test_text_comes_back_byte_for_byte_where_the_model_covers_it(kind, text):
    the_side = side(kind)
    encoded = the_side.encode(text)
    decoded = the_side.decode(encoded.ids)

    if UNK not in encoded.ids:
        assert decoded.encode() == text.encode()
    else:  # and with an unknown, everything but the unknown comes back
        rebuilt = "".join(
            "<unk>" if id == UNK else text[token.start : token.end]
            for token, id in zip(encoded.tokens, encoded.ids, strict=True)
        )
        assert decoded == rebuilt


def test_training_text_is_covered_but_for_reserved_characters():
    for kind in ("characters", *SUBWORDS):
        for text in TRAINING[:-1]:
            assert side(kind).decode(side(kind).ids(text)) == text


@pytest.mark.parametrize("kind", KINDS)
@many
@given(data=st.data())
def test_any_ids_are_described_by_spans_of_their_own_text(kind, data):
    the_side = side(kind)
    ids = data.draw(st.lists(st.integers(0, len(the_side.vocabulary) - 1), max_size=12))

    described = the_side.describe(ids)

    assert described.text == the_side.decode(ids)
    kept = ids[: ids.index(EOS)] if EOS in ids else ids
    assert described.ids == [id for id in kept if id not in (PAD, BOS)]
    for token, id in zip(described.tokens, described.ids, strict=True):
        raw = described.text[token.start : token.end]
        symbol = the_side.vocabulary.symbol(id).replace("▁", " " if kind in SUBWORDS else "▁")
        assert raw in (symbol, symbol.removeprefix(" "))


@pytest.mark.parametrize("kind", KINDS)
def test_specials_spelled_out_in_the_text_are_ordinary_text(kind):
    text = "a <s> tag </s> and <unk> and <pad> <s>"
    ids = side(kind).ids(text)

    assert min(ids) > UNK
    assert side(kind).decode(ids) == text


def test_decoding_stops_at_the_end_symbol_and_skips_padding():
    words = Side.train(TokenizerConfig(kind="words"), ["K AE T"])
    k, ae, t = words.ids("K AE T")

    assert words.decode([BOS, k, PAD, ae, UNK, t, EOS, k, k]) == "K AE <unk> T"


def test_an_id_outside_the_vocabulary_is_refused_with_its_size():
    words = Side.train(TokenizerConfig(kind="words"), ["K AE T"])
    for id in (7, -1):
        with pytest.raises(ValueError, match=rf"id {id} .*7 symbols"):
            words.decode([id])


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_visible_and_specials_are_named(kind):
    the_side = side(kind)
    everything = range(len(the_side.vocabulary))

    labels = the_side.symbols(everything)

    assert labels[:4] == list(SPECIALS)
    assert all(label.strip() for label in labels)


def test_character_labels_show_spaces_marks_and_invisible_characters():
    the_side = Side.train(TokenizerConfig(kind="characters"), ["a\u0301 \u200b\n"])

    shown = set(the_side.symbols(the_side.ids("a\u0301 \u200b\n")))

    assert shown == {"a", "◌\u0301", "␣", "U+200B", "U+000A"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_surrogate_is_refused_with_its_place(kind):
    with pytest.raises(ValueError, match=r"character 2 .*U\+D800"):
        side(kind).encode("ab\ud800")


@pytest.mark.parametrize(("kind", "kept"), [("characters", ("o", "t")), ("words", ("to",))])
def test_case_is_dropped_before_the_rare_are(kind, kept):
    config = TokenizerConfig(kind=kind, min_count=2, lowercase=True)

    assert Side.train(config, ["To", "tO x"]).vocabulary.symbols[4:] == kept


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_may_be_a_generator(kind):
    config = TokenizerConfig(kind=kind, size=60)
    once = Side.train(config, (text for text in TRAINING))

    assert once.digest == Side.train(config, TRAINING).digest


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_refused(kind):
    for texts in ([], [""], ["", ""]):
        with pytest.raises(ValueError, match="more text"):
            Side.train(TokenizerConfig(kind=kind, size=60), texts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_size_without_room_is_refused_with_the_least_that_has(kind):
    with pytest.raises(ValueError, match=r"give a size of [56] or more"):
        Side.train(TokenizerConfig(kind=kind, size=4), TRAINING)
