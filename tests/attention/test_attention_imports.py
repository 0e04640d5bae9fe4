"""What is imported when: each in a fresh process."""

from __future__ import annotations

import subprocess
import sys

import pytest

import qkv
import qkv.attention
import qkv.nn


def fresh(code: str) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_names_are_known_without_importing_torch():
    fresh(
        "import sys, qkv, qkv.attention, qkv.nn\n"
        "from qkv.attention.scores import SCORES\n"
        "from qkv.attention.normalizers import NORMALIZERS\n"
        "from qkv.attention.masks import MASKS\n"
        "from qkv.attention.biases import BIASES\n"
        "from qkv.attention.reweighters import REWEIGHTERS\n"
        "from qkv.attention.linear.features import FEATURES\n"
        "assert FEATURES and BIASES and REWEIGHTERS and SCORES and NORMALIZERS and MASKS\n"
        "assert dir(qkv) and qkv.__version__\n"
        "assert 'torch' not in sys.modules"
    )


def test_the_default_path_needs_no_compiler():
    fresh(
        "import sys, torch, qkv\n"
        "before = set(sys.modules)\n"
        "x = torch.randn(2, 3, 4, requires_grad=True)\n"
        "for need in ('context', 'weights', 'stats'):\n"
        "    qkv.attend(x, x, mask=qkv.Mask.causal(), need=need).context.sum().backward()\n"
        "late = {name for name in set(sys.modules) - before if not name.startswith('qkv')}\n"
        "heavy = ('torch._dynamo', 'torch._inductor', 'triton', 'sympy')\n"
        "assert not [name for name in late if name.startswith(heavy)], late"
    )


@pytest.mark.parametrize(
    "package",
    [
        qkv.attention,
        qkv.nn,
        qkv.scores,
        qkv.masks,
        qkv.normalizers,
        qkv.reweighters,
        qkv.biases,
        qkv.linear,
        qkv.linear.features,
    ],
)
def test_every_exported_name_is_there_and_others_are_not(package):
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        package.nonsense  # noqa: B018 - asking is the test


def test_the_public_names_of_the_mechanism_are_at_the_top():
    for name in ("attend", "plan", "Attention", "Attended", "Mask", "MultiHeadAttention"):
        assert callable(getattr(qkv, name))
        assert name in dir(qkv)
    for name in ("linear_attend", "LinearAttention", "LinearState", "Rotary"):
        assert callable(getattr(qkv, name))
    for name in ("scores", "normalizers", "masks", "reweighters", "biases", "linear"):
        assert getattr(qkv, name).__name__ == f"qkv.attention.{name}"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        qkv.nonsense  # noqa: B018 - asking is the test
