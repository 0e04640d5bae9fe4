"""Skipped as a whole without transformers; every test starts from the same random numbers."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here needs a network: make sure of it

import pytest
import torch

import qkv


@pytest.fixture(autouse=True)
def _registered():
    pytest.importorskip("transformers", reason="the extra qkv[hf] is not installed")
    torch.manual_seed(0)
    qkv.hf.register()
