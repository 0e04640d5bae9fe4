"""The name, the masks that transformers and its users hand over, and what is refused."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

pytest.importorskip("transformers", reason="the extra qkv[hf] is not installed")

import transformers
from hf_models import build, grouped, inputs, padding, ran

import qkv
from qkv import Mask

B, H, T, S, D = 2, 3, 5, 7, 4


def layer(causal: bool = False, **attributes: object) -> nn.Module:
    """An attention layer as transformers hands it over, as far as it is looked at."""
    module = nn.Module().eval()
    module.is_causal = causal
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def tensors() -> list[torch.Tensor]:
    return [torch.randn(B, H, length, D).double() for length in (T, S, S)]


def masked() -> torch.Tensor:
    """Some pairs in each row, but none in one row."""
    keep = torch.rand(B, 1, T, S) < 0.6
    keep[..., 0] = True
    keep[1, 0, 2] = False
    return keep


def test_a_model_is_built_with_the_name_and_registering_again_changes_nothing():
    known = dict(transformers.AttentionInterface())
    qkv.hf.register()
    assert dict(transformers.AttentionInterface()) == known
    assert build("bert").config._attn_implementation == "qkv"


def test_any_other_name_will_do():
    qkv.hf.register("attend")
    model, given = build("llama", implementation="attend"), inputs("llama", "left")
    out = model(**given, output_attentions=True)
    assert_close(ran(model, "qkv", **given, output_attentions=True).logits, out.logits)


@pytest.mark.parametrize("name", ["", "eager", "my_sdpa", "flash_qkv", "flex_attention", "a/b"])
def test_a_name_that_transformers_reads_in_its_own_way_is_refused(name):
    with pytest.raises(ValueError, match="in its own way"):
        qkv.hf.register(name)


def test_a_name_that_another_function_has_is_refused():
    with pytest.raises(ValueError, match="another attention named 'plain'"):
        qkv.hf.register("plain")


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"pip install 'qkv\[hf\]'"):
        qkv.hf.register()


def test_the_example_of_the_docs_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "huggingface.md"
    (example,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    exec(example, {})
    assert capsys.readouterr().out == "torch.Size([2, 4, 5, 5])\n"


def test_transformers_is_imported_by_register_and_not_before():
    code = "import sys, qkv; qkv.hf; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_boolean_mask_is_true_where_one_may_attend():
    query, key, value = tensors()
    keep = masked()
    context, weights = qkv.hf.attention(layer(), query, key, value, keep)
    expected = qkv.attend(query, key, value, mask=Mask.keep(keep), need="weights")
    assert_close(context, expected.context.transpose(1, 2))
    assert_close(weights, expected.weights)
    assert bool((weights[1, :, 2] == 0).all())


@pytest.mark.parametrize("lowest", [-math.inf, torch.finfo(torch.float64).min])
def test_a_mask_of_lowest_numbers_is_the_boolean_one(lowest):
    """Rows of nothing else are dead as well, where eager would read the mean of all values."""
    query, key, value = tensors()
    keep = masked()
    numbers = torch.zeros(keep.shape).double().masked_fill(~keep, lowest)
    expected = qkv.hf.attention(layer(), query, key, value, keep)
    assert_close(qkv.hf.attention(layer(), query, key, value, numbers), expected, rtol=0, atol=0)


def test_other_numbers_in_a_mask_are_added_and_get_a_gradient():
    query, key, value = tensors()
    keep = masked()
    numbers = torch.randn(B, H, T, S).double().requires_grad_()
    both = numbers.masked_fill(~keep, torch.finfo(torch.float64).min)
    context, weights = qkv.hf.attention(layer(), query, key, value, both)
    wanted = qkv.attend(query, key, value, mask=Mask.keep(keep), bias=numbers, need="weights")
    assert_close(context, wanted.context.transpose(1, 2))
    assert_close(weights, wanted.weights)
    probe = torch.randn_like(context)
    found = torch.autograd.grad((context * probe).sum(), numbers)
    expected = torch.autograd.grad((wanted.context.transpose(1, 2) * probe).sum(), numbers)
    assert_close(found, expected)
    assert found[0].abs().max() > 0


def test_a_nan_in_a_mask_of_numbers_is_not_hidden():
    query, key, value = tensors()
    numbers = torch.zeros(B, 1, T, S).double()
    numbers[0, 0, 1, 1] = math.nan
    context, _ = qkv.hf.attention(layer(), query, key, value, numbers)
    assert bool(context[0, 1].isnan().any())


@pytest.mark.parametrize("scaling", [None, 1.0, 0.3])
def test_scaling_and_position_bias_are_those_of_the_equation(scaling):
    query, key, value = tensors()
    bias = torch.randn(1, H, T, S).double()
    _, weights = qkv.hf.attention(
        layer(), query, key, value, None, scaling=scaling, position_bias=bias
    )
    factor = D**-0.5 if scaling is None else scaling
    assert_close(weights, torch.softmax(query @ key.mT * factor + bias, -1))
    numbers = torch.randn(B, 1, T, S).double()  # and a mask's numbers come on top
    _, weights = qkv.hf.attention(
        layer(), query, key, value, numbers, scaling=scaling, position_bias=bias
    )
    assert_close(weights, torch.softmax(query @ key.mT * factor + bias + numbers, -1))


@pytest.mark.parametrize(
    ("module_says", "call_says", "queries", "causal"),
    [
        (True, None, T, True),
        (False, None, T, False),
        (False, True, T, True),
        (True, False, T, False),
        (True, None, 1, False),  # one step of decoding sees all that is kept
    ],
)
def test_without_a_mask_is_causal_decides(module_says, call_says, queries, causal):
    query, key, value = tensors()
    query = query[:, :, :queries]
    context, _ = qkv.hf.attention(layer(module_says), query, key, value, None, is_causal=call_says)
    mask = Mask.causal() if causal else None
    assert_close(context, qkv.attend(query, key, value, mask=mask).context.transpose(1, 2))


def test_with_a_mask_is_causal_decides_nothing():
    query, key, value = tensors()
    keep = torch.ones(B, 1, T, S, dtype=torch.bool)
    found = qkv.hf.attention(layer(True), query, key, value, keep)
    assert_close(found, qkv.hf.attention(layer(False), query, key, value, keep))


@pytest.mark.parametrize("bias_heads", [1, 6])
@pytest.mark.parametrize("mask_heads", [1, 6])
@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("mask_batch", [1, B])
def test_grouped_heads_with_a_mask_and_a_bias_of_their_own(
    mask_batch, kv_heads, mask_heads, bias_heads
):
    query = torch.randn(B, 6, T, D).double()
    key, value = torch.randn(2, B, kv_heads, S, D).double()
    keep = torch.rand(mask_batch, mask_heads, T, S) < 0.6
    bias = torch.randn(mask_batch, bias_heads, T, S).double()
    found = qkv.hf.attention(layer(), query, key, value, keep, position_bias=bias)
    key, value = (t.repeat_interleave(6 // kv_heads, 1) for t in (key, value))
    expected = qkv.hf.attention(layer(), query, key, value, keep, position_bias=bias)
    assert_close(found, expected)


def test_a_rate_of_dropout_counts_in_training_alone():
    given, module = tensors(), layer()
    calm, _ = qkv.hf.attention(module, *given, None)
    assert_close(qkv.hf.attention(module, *given, None, dropout=0.5)[0], calm)
    torn, _ = qkv.hf.attention(module.train(), *given, None, dropout=0.5)
    assert bool((torn - calm).abs().max() > 0)


def test_heads_that_cannot_be_grouped_are_refused():
    query, (key, value) = torch.randn(B, 6, T, D), torch.randn(2, B, 4, S, D)
    with pytest.raises(ValueError, match="leading dimensions do not fit"):
        qkv.hf.attention(layer(), query, key, value, None)


@pytest.mark.parametrize(
    ("collects", "said", "returned"),
    [
        (None, None, True),  # nobody says: weights are never missing
        (None, False, False),
        (None, True, True),
        ({}, None, False),
        ({}, True, True),
        ({"hidden_states": []}, None, False),
        ({"attentions": []}, None, True),
        ({"cross_attentions": []}, False, True),
    ],
)
def test_weights_are_returned_when_somebody_asks_or_when_nobody_says(
    collects, said, returned, monkeypatch
):
    monkeypatch.setattr(
        "transformers.utils.output_capturing._active_collector",
        SimpleNamespace(get=lambda: collects),
    )
    _, weights = qkv.hf.attention(layer(), *tensors(), None, output_attentions=said)
    assert (weights is not None) is returned


def test_weights_are_returned_where_transformers_has_moved_its_collector(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.utils.output_capturing", None)
    assert qkv.hf.attention(layer(), *tensors(), None)[1] is not None


@pytest.mark.parametrize(
    ("further", "attributes", "says"),
    [
        ({"softcap": 30.0}, {}, "softcap"),
        ({"s_aux": torch.zeros(H)}, {}, "sinks"),
        ({}, {"sinks": torch.zeros(H)}, "sinks"),
        ({"block_indices": torch.zeros(1)}, {}, "block_indices"),
        ({"cache": object()}, {}, "pages"),
    ],
)
def test_what_is_no_part_of_the_equation_is_refused_and_eager_is_named(further, attributes, says):
    with pytest.raises(ValueError, match=f"{says}.*eager"):
        qkv.hf.attention(layer(**attributes), *tensors(), None, **further)


def test_a_model_that_caps_its_energies_is_refused_when_it_runs():
    config = grouped(transformers.Gemma2Config, 0.0, attn_logit_softcapping=20.0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="qkv")
    with pytest.raises(ValueError, match="Gemma2Attention caps its energies"):
        model(**inputs("llama"))


@pytest.mark.parametrize(
    "mask", [torch.ones(B, S, dtype=torch.bool), torch.ones(B, 1, T, S, dtype=torch.long)]
)
def test_a_mask_that_can_be_read_two_ways_is_refused(mask):
    with pytest.raises(ValueError, match="True = may attend"):
        qkv.hf.attention(layer(), *tensors(), mask)


@torch.no_grad()
def test_a_mask_of_the_users_own_in_four_dimensions_goes_through_the_model():
    """True = may attend: here, who stands at the same place modulo two."""
    model, given = build("bert"), inputs("bert")
    parity = torch.arange(padding("none").shape[1]) % 2
    keep = (parity.unsqueeze(-1) == parity).expand(3, 1, -1, -1)
    given["attention_mask"] = keep
    out = ran(model, "qkv", **given, output_attentions=True)
    assert bool((out.attentions[0].masked_select(~keep) == 0).all())
    theirs = ran(model, "sdpa", **given).logits
    # Two layers of four sums and an output, of at most 37 terms each, in float32.
    off = 9 * 37 * torch.finfo(torch.float32).eps
    assert_close(out.logits, theirs, atol=off * theirs.abs().max().item(), rtol=0.0)
