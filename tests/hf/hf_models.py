"""Small random transformers models of five families, and one way to run each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.testing import assert_close

BATCH, SOURCE, TARGET, VOCABULARY = 3, 7, 5, 37
PAD, EOS = 0, 1
ENDS = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": 2}


@dataclass(frozen=True)
class Family:
    """kind: "encoder", "decoder" or "both"; heads and layers as the config has them."""

    kind: str
    model: str
    config: Callable[[float], transformers.PretrainedConfig]


def marian(dropout: float) -> transformers.PretrainedConfig:
    return transformers.MarianConfig(
        vocab_size=VOCABULARY,
        d_model=12,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=17,
        decoder_ffn_dim=17,
        max_position_embeddings=32,
        decoder_start_token_id=PAD,
        forced_eos_token_id=None,
        attention_dropout=dropout,
        dropout=0.0,
        **ENDS,
    )


def t5(dropout: float) -> transformers.PretrainedConfig:
    return transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=13,
        d_kv=5,
        d_ff=17,
        num_layers=2,
        num_heads=3,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=6,
        dropout_rate=dropout,
        decoder_start_token_id=PAD,
        **ENDS,
    )


def bert(dropout: float) -> transformers.PretrainedConfig:
    return transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=15,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=17,
        max_position_embeddings=32,
        attention_probs_dropout_prob=dropout,
        hidden_dropout_prob=0.0,
        **ENDS,
    )


def gpt2(dropout: float) -> transformers.PretrainedConfig:
    return transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=15,
        n_layer=2,
        n_head=3,
        attn_pdrop=dropout,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        **ENDS,
    )


def grouped(kind: type, dropout: float, **more: Any) -> transformers.PretrainedConfig:
    """Six heads of queries read two of keys."""
    return kind(
        vocab_size=VOCABULARY,
        hidden_size=18,
        intermediate_size=17,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=4,
        max_position_embeddings=32,
        attention_dropout=dropout,
        **ENDS,
        **more,
    )


def llama(dropout: float) -> transformers.PretrainedConfig:
    return grouped(transformers.LlamaConfig, dropout)


def mistral(dropout: float) -> transformers.PretrainedConfig:
    """Each query sees itself and two tokens before."""
    return grouped(transformers.MistralConfig, dropout, sliding_window=3)


FAMILIES = {
    "marian": Family("both", "AutoModelForSeq2SeqLM", marian),
    "t5": Family("both", "AutoModelForSeq2SeqLM", t5),
    "bert": Family("encoder", "AutoModelForMaskedLM", bert),
    "gpt2": Family("decoder", "AutoModelForCausalLM", gpt2),
    "llama": Family("decoder", "AutoModelForCausalLM", llama),
    "mistral": Family("decoder", "AutoModelForCausalLM", mistral),
}
WRITERS = [name for name, family in FAMILIES.items() if family.kind != "encoder"]


def build(name: str, dropout: float = 0.0, implementation: str = "qkv") -> nn.Module:
    """A model in evaluation mode whose attention is far from uniform: weights of deviation 0.4."""
    family = FAMILIES[name]
    model = getattr(transformers, family.model).from_config(
        family.config(dropout), attn_implementation=implementation
    )
    for parameter in model.parameters():
        if parameter.dim() > 1 and parameter.requires_grad:
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


def padding(side: str) -> Tensor:
    """Ones for tokens, zeros for pads: none, or 0, 2 and 4 of them on one side."""
    mask = torch.ones(BATCH, SOURCE, dtype=torch.long)
    for item, pads in enumerate((0, 2, 4) if side != "none" else (0, 0, 0)):
        mask[item, : pads if side == "left" else 0] = 0
        mask[item, SOURCE - pads if side == "right" else SOURCE :] = 0
    return mask


def inputs(name: str, side: str = "none") -> dict[str, Tensor]:
    """What the model reads; positions count from the first token, not from the first pad."""
    mask = padding(side)
    ids = torch.randint(3, VOCABULARY, (BATCH, SOURCE)).masked_fill(mask == 0, PAD)
    given = {"input_ids": ids, "attention_mask": mask}
    if FAMILIES[name].kind == "both":
        given["decoder_input_ids"] = torch.randint(3, VOCABULARY, (BATCH, TARGET))
    return given


def ran(model: nn.Module, implementation: str, **given: Any) -> Any:
    """The same model, with another attention."""
    model.set_attn_implementation(implementation)
    return model(**given)


def plain(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float,
    position_bias: Tensor | float = 0.0,
    **further: Any,
) -> tuple[Tensor, Tensor]:
    """The equation as written, for float64; a query that may attend to nothing gets zeros.

    Their eager will not do as the reference: some models' softmax is float32 whatever the dtype,
    in which a row of float64's lowest numbers is NaN.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    energies = query @ key.mT * scaling + position_bias
    if mask is None:
        mask = torch.ones(energies.shape[-2:], dtype=torch.bool)
        mask = mask.tril() if module.is_causal and query.shape[2] > 1 else mask
    weights = torch.softmax(energies.masked_fill(~mask, -1e300), -1) * mask.any(-1, keepdim=True)
    return (weights @ value).transpose(1, 2), weights


def exactly(model: nn.Module, **given: Any) -> Any:
    """The same model in float64 and with the equation as written: the reference."""
    return ran(copy.deepcopy(model).double(), "plain", **given)


def as_exact_as(
    eager: list[Tensor],
    actual: list[Tensor],
    reference: list[Tensor],
    eps: float = torch.finfo(torch.float32).eps,
) -> None:
    """qkv is as near to float64 as eager is: that is the error that rounding explains.

    Both round every sum, in another order, so one may be some times the other: 8 is allowed.
    What is compared are the largest errors over all of the tensors.
    """
    assert len(eager) == len(actual) == len(reference) > 0
    pairs = zip(eager, reference, strict=True)
    error = max((mine.double() - exact).abs().max().item() for mine, exact in pairs)
    # Rounding, not another equation: sums of at most 37 terms, some 20 deep; and where that
    # bound says nothing, in half precision, still below a quarter of the largest number.
    size = max(exact.abs().max().item() for exact in reference)
    assert error < min(20 * 37 * eps, 0.25) * size
    for mine, exact in zip(actual, reference, strict=True):
        assert_close(mine.double(), exact, atol=8 * error, rtol=0.0)


transformers.AttentionInterface.register("plain", plain)
transformers.AttentionMaskInterface.register("plain", transformers.masking_utils.sdpa_mask)
