"""Every test here starts from the same random numbers, in whatever order tests run."""

from __future__ import annotations

import pytest
import torch
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is not a wrong answer
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
