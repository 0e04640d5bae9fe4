"""Subwords: training is deterministic, quiet and fits any text."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from qkv.config import TokenizerConfig
from qkv.text import SPECIALS, UNK, Side
from qkv.text.subwords import BPE

KINDS = ("bpe", "unigram")
ADJECTIVES, NOUNS = ("red", "low", "new"), ("bird", "river", "den")
SENTENCES = [f"the {a} {b} and the {b} {a}s" for a in ADJECTIVES for b in NOUNS]
PROGRAM = """
import sys
from qkv.config import TokenizerConfig
from qkv.text import Side
kind, *texts = sys.argv[1:]
print(Side.train(TokenizerConfig(kind=kind, size=60), texts).digest)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_text_gives_the_same_model_in_every_process(kind):
    mine = Side.train(TokenizerConfig(kind=kind, size=60), SENTENCES)
    random.seed(5)
    again = Side.train(TokenizerConfig(kind=kind, size=60), SENTENCES)
    program = [sys.executable, "-c", PROGRAM, kind, *SENTENCES]
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    other = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)

    assert again.tokenizer.model == mine.tokenizer.model
    assert other.stdout.strip() == mine.digest


@pytest.mark.parametrize("kind", KINDS)
def test_training_prints_nothing(kind, capfd):
    Side.train(TokenizerConfig(kind=kind, size=60), SENTENCES)

    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize("kind", KINDS)
def test_our_ids_are_those_of_the_sentencepiece_model(kind):
    side = Side.train(TokenizerConfig(kind=kind, size=60), SENTENCES)

    for text in [*SENTENCES, "the xyz ☃", "  spaces  "]:
        assert side.ids(text) == side.tokenizer._processor.encode(text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [6, 7, 20, 60, 5000])
def test_the_vocabulary_never_exceeds_its_size_and_small_text_gives_a_small_one(kind, size):
    side = Side.train(TokenizerConfig(kind=kind, size=size), SENTENCES)

    assert 6 <= len(side.vocabulary) <= min(size, 400)


@pytest.mark.parametrize("kind", KINDS)
def test_a_script_of_many_characters_leaves_room_for_longer_pieces(kind):
    common = [chr(0x4E00 + i) for i in range(20)]
    rare = "".join(chr(0x5E00 + i) for i in range(500))
    words = ["".join(common[i : i + 4]) for i in range(0, 20, 4)]
    texts = [a + b for a in words for b in words] * 10 + [rare]

    side = Side.train(TokenizerConfig(kind=kind, size=60), texts)

    symbols = side.vocabulary.symbols[4:]
    assert len(symbols) <= 56
    assert max(map(len, symbols)) > 2
    assert UNK not in side.ids("".join(common))


@pytest.mark.parametrize("kind", KINDS)
def test_rare_characters_are_unknown_below_min_count(kind):
    texts = [*SENTENCES, "q"]

    assert UNK in Side.train(TokenizerConfig(kind=kind, min_count=2), texts).ids("q")
    assert UNK not in Side.train(TokenizerConfig(kind=kind, min_count=1), texts).ids("q")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("special", SPECIALS)
def test_text_that_reads_like_a_special_is_learned_like_any_other(kind, special):
    texts = [f"{special} a", f"{special} b"] * 3
    side = Side.train(TokenizerConfig(kind=kind, size=60), texts)

    assert min(side.ids(f"b {special}")) > UNK
    assert side.decode(side.ids(f"b {special}")) == f"b {special}"


def test_a_long_line_is_learned_from_too():
    word = "abcdefghij"
    side = Side.train(TokenizerConfig(kind="bpe", size=60), [f"{word} " * 2000])

    assert len(side.ids(f"{word} {word}")) == 2


def test_a_known_word_is_one_piece_with_the_space_before_it():
    side = Side.train(TokenizerConfig(kind="bpe", size=200), SENTENCES)

    tokens = side.encode("the river").tokens

    assert [(token.text, token.start, token.end) for token in tokens] == [
        ("▁the", 0, 3),
        ("▁river", 3, 9),
    ]


def test_without_sentencepiece_the_error_names_the_extra(monkeypatch):
    model = Side.train(TokenizerConfig(kind="bpe", size=60), SENTENCES).tokenizer.model
    monkeypatch.setitem(sys.modules, "sentencepiece", None)

    with pytest.raises(ValueError, match=r"pip install 'qkv\[subwords\]'"):
        BPE(model)
    with pytest.raises(ValueError, match=r"pip install 'qkv\[subwords\]'"):
        Side.train(TokenizerConfig(kind="unigram"), SENTENCES)
