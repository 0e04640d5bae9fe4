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
    x = draw(5, 7, n)  # from 1,280 on more numbers than one topk ranks
    values, index = largest(x, k)
    assert_close(values, x.topk(k).values, rtol=0, atol=0)
    assert_close(x.gather(-1, index), values, rtol=0, atol=0)
    assert all(len(set(row)) == k for row in index.flatten(0, 1).tolist())


def test_the_largest_is_found_at_every_place_and_nan_is_not_hidden():
    n = 4 * 2 * 64 + 3
    for k in (1, 2):  # one maximum, and blocks
        index = largest(torch.eye(n), k)[1]
        assert index[:, 0].tolist() == list(range(n))
        x = torch.zeros(n, n).index_fill(1, torch.tensor([77]), torch.nan)
        assert largest(x, k)[0][:, 0].isnan().all()
        minus = torch.full((n, n), -torch.inf)
        assert largest(minus, k)[0].eq(-torch.inf).all()
