"""The key and value cache: a value that grows, selects and is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from qkv.nn import KeyValueCache


def filled(positions: int = 3) -> KeyValueCache:
    return KeyValueCache.empty().append(
        torch.randn(2, 5, positions, 7), torch.randn(2, 5, positions, 11)
    )


def test_an_empty_cache_remembers_nothing():
    empty = KeyValueCache.empty()
    assert empty.length == 0
    assert empty.select(torch.tensor([0])).length == 0
    assert empty.state_dict() == {}
    assert KeyValueCache.from_state_dict({}).length == 0


def test_appending_gives_a_longer_cache_and_leaves_the_old_one_alone():
    old = filled(3)
    key, value = torch.randn(2, 5, 1, 7), torch.randn(2, 5, 1, 11)
    new = old.append(key, value)
    assert (old.length, new.length) == (3, 4)
    assert torch.equal(new.key, torch.cat([old.key, key], 2))
    assert torch.equal(new.value, torch.cat([old.value, value], 2))


def test_two_branches_grow_from_one_cache():
    """Beams: what one hypothesis remembers, the other does not."""
    trunk = filled(2)
    left = trunk.append(torch.zeros(2, 5, 1, 7), torch.zeros(2, 5, 1, 11))
    right = trunk.append(torch.ones(2, 5, 1, 7), torch.ones(2, 5, 1, 11))
    assert not left.key[:, :, 2].any()
    assert right.key[:, :, 2].all()
    assert torch.equal(left.key[:, :, :2], right.key[:, :, :2])


def test_selecting_takes_batch_items_in_order_and_repeats_them():
    cache = filled()
    rows = torch.tensor([1, 1, 0])
    chosen = cache.select(rows)
    assert torch.equal(chosen.key, cache.key[rows])
    assert torch.equal(chosen.value, cache.value[rows])


@pytest.mark.parametrize("emptied", [None, torch.tensor([[False, True, True], [False] * 3])])
def test_a_cache_survives_a_file_of_tensors(emptied):
    cache = replace(filled(), emptied=emptied)
    back = KeyValueCache.from_state_dict(load(save(cache.state_dict())))
    assert torch.equal(back.key, cache.key)
    assert torch.equal(back.value, cache.value)
    assert (back.emptied is None) == (emptied is None)
    assert emptied is None or torch.equal(back.emptied, emptied)


def test_a_cache_knows_which_rows_were_emptied():
    emptied = torch.tensor([[False, True, True], [False, False, True]])
    cache = replace(filled(), emptied=emptied)
    assert cache.emptied_all(None)
    assert cache.emptied_all(emptied[:, None])
    assert cache.emptied_all(torch.tensor([False, False, True]))
    assert not cache.emptied_all(torch.tensor([False, True, True]))
    assert not cache.emptied_all(~emptied[:, None])
    assert not filled().emptied_all(emptied[:, None])
    assert cache.select(torch.tensor([1, 1])).emptied_all(emptied[[1, 1]][:, None])
    key, value = torch.randn(2, 5, 1, 7), torch.randn(2, 5, 1, 11)
    assert cache.append(key, value).emptied is None
