"""The blockwise topk is a topk."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from qkv.search.largest import largest


@pytest.mark.parametrize("n", [5, 1279, 1280, 1281, 4099])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("draw", [torch.randn, lambda *shape: torch.randint(0, 4, shape).float()])
def test_values_are_those_of_topk_and_places_are_theirs(n, k, draw):
    torch.manual_seed(n)
    x = draw(2, 3, n)
    values, index = largest(x, k)
    assert_close(values, x.topk(k).values, rtol=0, atol=0)
    assert_close(x.gather(-1, index), values, rtol=0, atol=0)
    assert all(len(set(row)) == k for row in index.flatten(0, 1).tolist())


def test_the_largest_is_found_at_every_place_and_nan_is_not_hidden():
    n = 4 * 64 + 3
    index = largest(torch.eye(n), 1)[1]
    assert index.squeeze(1).tolist() == list(range(n))
    x = torch.zeros(n).index_fill(0, torch.tensor([77]), torch.nan)
    assert largest(x, 1)[0].isnan().all()
    minus = torch.full((n,), -torch.inf)
    assert largest(minus, 1)[0].item() == -torch.inf
