"""Hugging Face models with qkv's attention equal the same models with their own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

pytest.importorskip("transformers", reason="the extra qkv[hf] is not installed")

from hf_models import (
    FAMILIES,
    TARGET,
    WRITERS,
    as_exact_as,
    build,
    exactly,
    inputs,
    padding,
    ran,
)

import qkv
from qkv import Mask

SIDES = ("none", "right", "left")
KINDS = ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")


def attentions(out: object) -> dict[str, list[Tensor]]:
    return {kind: list(out[kind]) for kind in KINDS if out.get(kind)}


def real(rows: Tensor, side: str, own: bool = True) -> Tensor:
    """Rows of tokens; what stands at a pad is nobody's business, and not the same in eager."""
    return rows if not own else rows[padding(side).bool()]


@pytest.fixture
def asked(monkeypatch):
    """What attend() is asked, call by call."""
    calls = []

    def spy(query, key, value=None, **how):
        calls.append({"query": query, "key": key, "value": value, **how})
        return qkv.attend(query, key, value, **how)

    monkeypatch.setattr("qkv.hf.attend", spy)
    return calls


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_logits_and_attentions_are_those_of_eager(name, side):
    model, given = build(name), inputs(name, side)
    given["output_attentions"] = True
    outs = [ran(model, "eager", **given), ran(model, "qkv", **given)]
    outs.append(exactly(model, **given))
    own = FAMILIES[name].kind != "both"
    as_exact_as(*([real(out.logits, side, own)] for out in outs))
    maps = [attentions(out) for out in outs]
    wanted = {"encoder_attentions", "decoder_attentions", "cross_attentions"}
    assert set(maps[1]) == (wanted if FAMILIES[name].kind == "both" else {"attentions"})
    for kind in maps[1]:
        about_source = kind in ("attentions", "encoder_attentions")
        rows = [
            [real(layer.transpose(1, 2), side, about_source) for layer in those[kind]]
            for those in maps
        ]
        as_exact_as(*rows)
        assert len(rows[1]) == 2  # layers
        assert_close(rows[1][0].sum(-1), torch.ones(rows[1][0].shape[:-1]))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", FAMILIES)
def test_without_weights_the_fused_kernel_gives_what_sdpa_gives(name, side, asked):
    """What runs is known by what attend() is asked for: "context" alone."""
    model, given = build(name), inputs(name, side)
    with torch.no_grad():
        outs = [ran(model, implementation, **given) for implementation in ("sdpa", "qkv")]
        outs.append(exactly(model, **given))
    own = FAMILIES[name].kind != "both"
    as_exact_as(*([real(out.logits, side, own)] for out in outs))
    assert len(asked) == (6 if FAMILIES[name].kind == "both" else 2)
    assert {call.get("need") for call in asked} == {"context"}
    for call in asked:
        assert qkv.plan(**call).kernel != "reference"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_are_those_of_eager(name, side):
    """In training mode, nothing dropped out; the loss reads tokens alone."""
    model, given = build(name).train(), inputs(name, side)
    probe = None
    grads = []
    double = copy.deepcopy(model).double()
    for kind, implementation in ((model, "eager"), (model, "qkv"), (double, "plain")):
        logits = ran(kind, implementation, **given).logits
        logits = real(logits, side, FAMILIES[name].kind != "both")
        probe = torch.randn(logits.shape) if probe is None else probe
        kind.zero_grad()
        (logits * probe.to(logits.dtype)).sum().backward()
        found = [p.grad for p in kind.parameters()]
        assert all(g is None or bool(g.isfinite().all()) for g in found)
        grads.append([g.clone() for g in found if g is not None])
    as_exact_as(*grads)


@pytest.mark.parametrize("how", [{}, {"num_beams": 3}, {"cache_implementation": "static"}])
@pytest.mark.parametrize("name", WRITERS)
def test_generate_writes_the_tokens_of_eager_and_tells_where_it_looked(name, how):
    side = "right" if FAMILIES[name].kind == "both" else "left"
    model, given = build(name), inputs(name, side)
    given.pop("decoder_input_ids", None)
    outs = []
    for implementation in ("eager", "qkv"):
        model.set_attn_implementation(implementation)
        outs.append(
            model.generate(
                **given,
                **how,
                max_new_tokens=6,
                do_sample=False,
                return_dict_in_generate=True,
                output_attentions=True,
            )
        )
    assert outs[0].sequences.tolist() == outs[1].sequences.tolist()
    kind = "cross_attentions" if FAMILIES[name].kind == "both" else "attentions"
    theirs, ours = outs[0][kind], outs[1][kind]
    assert len(ours) == len(theirs) > 1
    for step, (their_layers, our_layers) in enumerate(zip(theirs, ours, strict=True)):
        for their, our in zip(their_layers, our_layers, strict=True):
            assert our.shape == their.shape
            alive = our.sum(-1) > 0  # pads on the left look nowhere
            assert bool(alive.all()) or (step == 0 and side == "left")
            # Two layers of sums of at most 37 terms, in float32: 2 * 4 * 37 * eps = 4e-5.
            assert_close(our[alive], their[alive], atol=4e-5, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_half_precision_stays_half_and_is_as_exact_as_eagers(name, dtype):
    given = inputs(name, "right")
    model = build(name).to(dtype)
    outs = [ran(model, "eager", **given).logits, ran(model, "qkv", **given).logits]
    outs.append(exactly(model, **given).logits)
    assert outs[1].dtype == dtype
    eps = torch.finfo(dtype).eps
    as_exact_as(*([real(out, "right", FAMILIES[name].kind != "both")] for out in outs), eps=eps)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@torch.no_grad()
def test_pads_on_the_left_look_nowhere(name):
    out = ran(build(name), "qkv", **inputs(name, "left"), output_attentions=True)
    dead = padding("left") == 0
    assert bool(out.logits.isfinite().all())
    for weights in out.attentions:
        rows = weights.transpose(1, 2)
        assert bool((rows[dead] == 0).all())
        assert_close(rows[~dead].sum(-1), torch.ones(rows[~dead].shape[:-1]))
        assert bool((weights.transpose(1, 3)[dead] == 0).all())  # and nobody looks at them


@pytest.mark.parametrize("name", FAMILIES)
def test_returned_weights_are_those_before_dropout(name):
    """The first layer sees the same inputs in both modes, so its weights are the same."""
    model, given = build(name, dropout=0.5), inputs(name)
    calm = ran(model, "qkv", **given, output_attentions=True)
    for module in model.modules():  # T5 has one rate for everything: drop weights alone
        if isinstance(module, torch.nn.Dropout) and name == "t5":
            module.p = 0.0
    torn = ran(model.train(), "qkv", **given, output_attentions=True)
    kind = "encoder_attentions" if FAMILIES[name].kind == "both" else "attentions"
    assert_close(torn[kind][0], calm[kind][0])
    assert not torch.equal(torn.logits, calm.logits)
    again = ran(model.eval(), "qkv", **given)
    # Another kernel, which adds in another order: 17 sums of at most 37 terms in float32.
    size = calm.logits.abs().max().item()
    assert_close(again.logits, calm.logits, atol=17 * 37 * 1.2e-7 * size, rtol=0.0)


def test_grouped_keys_are_broadcast_and_not_copied(asked):
    model = build("llama")
    layer = model.model.layers[0].self_attn
    layer.num_key_value_groups = 3
    key, value = torch.randn(2, 2, 5, 4), torch.randn(2, 2, 5, 4)
    query = torch.randn(2, 6, 5, 4)
    context, weights = qkv.hf.attention(layer, query, key, value, None, output_attentions=True)
    assert asked[0]["key"].data_ptr() == key.data_ptr()
    assert asked[0]["value"].data_ptr() == value.data_ptr()
    assert asked[0]["key"].numel() == key.numel()
    expected = qkv.attend(
        query,
        key.repeat_interleave(3, 1),
        value.repeat_interleave(3, 1),
        mask=Mask.causal(),
        need="weights",
    )
    assert_close(context, expected.context.transpose(1, 2))
    assert_close(weights, expected.weights)


def test_cross_attention_of_a_batch_in_which_a_source_is_all_pads_reads_zeros():
    model = build("marian")
    given = inputs("marian", "right")
    given["attention_mask"][1] = 0
    out = ran(model, "qkv", **given, output_attentions=True)
    assert bool((out.cross_attentions[0][1] == 0).all())
    assert bool(out.logits.isfinite().all())
    assert out.logits.shape[1] == TARGET
