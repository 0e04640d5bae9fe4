"""From a translation to what is shown: every kind of attention, in tokens and in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qkv.config import Config, TokenizerConfig, TransformerConfig
from qkv.figures import alignment_of, figure_of, maps_of
from qkv.models.build import build_model
from qkv.run import Run
from qkv.text import Side

SOURCE = "the small dog sees the small cat"
TARGET = "der kleine Hund sieht die kleine Katze"


def run_of(kind: str) -> Run:
    """An untrained Transformer whose two sides cut words into pieces, or not."""
    config = Config(
        model=TransformerConfig(
            width=12, heads=3, feedforward=8, encoder_layers=2, decoder_layers=1, dropout=0.0
        )
    )
    source, target = (
        Side.train(TokenizerConfig(kind=kind, size=26), [text] * 20) for text in (SOURCE, TARGET)
    )
    torch.manual_seed(1)
    model = build_model(config.model, len(source.vocabulary), len(target.vocabulary)).eval()
    return Run(config, source, target, model)


@pytest.fixture(scope="module")
def pieces() -> Run:
    return run_of("bpe")


def test_every_kind_of_attention_can_be_read_in_the_words_of_the_text(pieces):
    (found,) = pieces.force([SOURCE], [TARGET])
    assert len(found.source.tokens) > len(SOURCE.split())
    source, target = (*SOURCE.split(), "</s>"), TARGET.split()
    labels = {
        "encoder self-attention": (source, source),
        "decoder self-attention": (("<s>", *target), ("<s>", *target)),
        "cross-attention": ((*target, "</s>"), source),
    }
    maps = maps_of(pieces, found)
    assert {one.kind for one in maps} == set(labels)
    for one in maps:
        assert one.words is not None
        assert tuple(side.labels for side in one.words) == labels[one.kind]


def test_words_add_what_their_source_tokens_got_and_average_their_target_tokens(pieces):
    (found,) = pieces.force([SOURCE], [TARGET])
    shown = alignment_of(pieces, found)
    by_tokens, by_words = shown.figure(), shown.figure(by_words=True)
    np.testing.assert_array_equal(by_tokens.weights, figure_of(pieces, found).weights)
    target, source = shown.words
    rows = [i for i, word in enumerate(target.of) if word == 1]  # der [kleine] Hund ...
    columns = [j for j, word in enumerate(source.of) if word == 2]  # the small [dog] ...
    assert len(rows) > 1 or len(columns) > 1
    want = by_tokens.weights[np.ix_(rows, columns)].astype(np.float64).sum(1).mean()
    # float32 weights, at most 1, of which a few are added
    assert by_words.weights[1, 2] == pytest.approx(want, abs=1e-6)
    np.testing.assert_allclose(by_words.weights.sum(1), 1, atol=1e-5)


def test_where_every_token_is_a_word_there_is_nothing_to_choose():
    run = run_of("words")
    (found,) = run.force([SOURCE], [TARGET])
    assert alignment_of(run, found).words is None
    assert all(one.words is None for one in maps_of(run, found))
