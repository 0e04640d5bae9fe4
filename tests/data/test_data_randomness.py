"""Randomness: every use has its own generator, and nobody's else is touched."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import torch

from qkv.config import DataConfig, TokenizerConfig
from qkv.data import BatchPlan, collate, encode_pairs, load_pairs
from qkv.data.randomness import generator
from qkv.text import Side

PROGRAM = """
from qkv.data import BatchPlan
from qkv.data.randomness import generator
print(generator(1, "batches", 2).integers(1 << 60), BatchPlan([3, 1, 2] * 20, 9, 5).epoch(7))
"""


def states():
    kind, keys, *rest = np.random.get_state()
    return random.getstate(), (kind, keys.tolist(), *rest), torch.get_rng_state().tolist()


def test_no_global_generator_is_read_or_changed():
    def everything():
        pairs = load_pairs(DataConfig(corpus="reverse"), "dev")
        side = Side.train(TokenizerConfig(kind="bpe", size=60), pairs.sources)
        examples = encode_pairs(pairs, side, side, 40)
        batches = BatchPlan(examples.lengths, 200, 1).epoch(3)
        return side.digest, batches, collate(examples, batches[0]).source.tolist()

    before = states()
    first = everything()
    assert states() == before

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert everything() == first


def test_streams_are_pure_and_independent():
    draws = {
        key: generator(*key).integers(1 << 60, size=4).tolist()
        for key in [(1, "a", 0), (1, "a", 1), (1, "b", 0), (2, "a", 0), (1, "a"), (1, "a0")]
    }

    assert len({tuple(draw) for draw in draws.values()}) == len(draws)
    for key, draw in draws.items():
        assert generator(*key).integers(1 << 60, size=4).tolist() == draw


def test_another_process_draws_the_same():
    mine = f"{generator(1, 'batches', 2).integers(1 << 60)} "
    mine += f"{BatchPlan([3, 1, 2] * 20, 9, 5).epoch(7)}"

    other = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"PYTHONHASHSEED": "9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == mine
