"""Examples and the tensors made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from qkv.config import TokenizerConfig
from qkv.data import Pair, collate, encode_pairs
from qkv.data.batches import pad_ids
from qkv.data.examples import Examples
from qkv.data.ragged import Ragged
from qkv.text import BOS, EOS, PAD, Side

WORDS = "a b c d e f g"
IDS = st.lists(st.integers(3, 50), max_size=9)


def words() -> Side:
    return Side.train(TokenizerConfig(kind="words"), [WORDS])


def examples_of(sources, targets) -> Examples:
    every = np.arange(len(sources))
    return Examples(Ragged.of(sources), Ragged.of(targets), every, every[:0], 0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data(), rows=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=7))
def test_a_batch_equals_the_definition_written_as_loops(data, rows):
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=5))
    sources, targets = ([list(row) for row in side] for side in zip(*rows, strict=True))

    batch = collate(examples_of(sources, targets), indices)

    longest_source = max(len(sources[i]) for i in indices) + 1
    longest_target = max(len(targets[i]) for i in indices) + 1
    assert batch.source.shape == (len(indices), longest_source)
    assert batch.target_in.shape == batch.target_out.shape == (len(indices), longest_target)
    for row, i in enumerate(indices):
        source_pad = [PAD] * (longest_source - len(sources[i]) - 1)
        target_pad = [PAD] * (longest_target - len(targets[i]) - 1)
        assert batch.source[row].tolist() == [*sources[i], EOS, *source_pad]
        assert batch.target_in[row].tolist() == [BOS, *targets[i], *target_pad]
        assert batch.target_out[row].tolist() == [*targets[i], EOS, *target_pad]
        assert batch.source_lengths[row] == len(sources[i]) + 1
        assert batch.target_lengths[row] == len(targets[i]) + 1
        assert batch.indices[row] == i
    assert len(batch) == len(indices)


def test_all_tensors_of_a_batch_are_long_and_move_together():
    batch = collate(examples_of([[5, 6], [7]], [[8], [9, 9, 9]]), [1, 0]).to("meta")

    for name in ("source", "source_lengths", "target_in", "target_out", "target_lengths"):
        assert getattr(batch, name).dtype == torch.long
        assert getattr(batch, name).device.type == "meta"
    assert batch.indices.dtype == torch.long


def test_source_ids_alone_are_padded_like_a_batchs_source():
    sources = [[5, 6, 7], [], [8]]
    batch = collate(examples_of(sources, sources), [0, 1, 2])

    padded, lengths = pad_ids(sources)

    assert_close(padded, batch.source)
    assert_close(lengths, batch.source_lengths)


def test_pairs_are_encoded_once_and_the_too_long_are_left_out_and_counted():
    side = words()
    texts = ["a", "a b", "a b c", "a b c d", "e"]
    pairs = [Pair(text, text[::-1], i) for i, text in enumerate(texts, 1)]
    pairs.append(Pair("a", "a b c d e", 6))  # the longer side counts

    examples = encode_pairs(pairs, side, side, max_length=3)

    assert examples.kept.tolist() == [0, 1, 2, 4]
    assert examples.left_out.tolist() == [3, 5]
    for i, original in enumerate(examples.kept.tolist()):
        assert examples.source[i].tolist() == side.ids(pairs[original].source)
        assert examples.target[i].tolist() == side.ids(pairs[original].target)
    assert str(examples) == "4 examples; 2 left out, longer than 3 tokens (data.max_length)"
    assert str(encode_pairs(pairs, side, side)) == "6 examples"


def test_lengths_count_the_end_symbol():
    side = words()
    pairs = [Pair("a b c", "d", 1), Pair("e", "f g", 2)]

    assert encode_pairs(pairs, side, side).lengths.tolist() == [[4, 2], [2, 3]]


def test_nothing_short_enough_is_refused_with_the_length_that_would_do():
    side = words()
    with pytest.raises(ValueError, match=r"none of the 1 pairs .* 1 tokens .*shortest has 3"):
        encode_pairs([Pair("a b c", "a", 1)], side, side, max_length=1)
    with pytest.raises(ValueError, match="none of the 0 pairs"):
        encode_pairs([], side, side, max_length=1)


def test_ids_are_kept_in_four_bytes_each():
    examples = examples_of([[5] * 1000] * 10, [[6] * 500] * 10)

    assert examples.source.flat.nbytes == 4 * 10_000
    assert examples.target.flat.nbytes == 4 * 5_000
