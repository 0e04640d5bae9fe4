"""Matrix products laid out for search: few rows, many times, no gradient."""

from __future__ import annotations

import copy
from typing import Literal, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from qkv.models.eighths import in_eighths, multiply_eighths

Precision = Literal["float32", "bfloat16", "int8"]
Module = TypeVar("Module", bound=nn.Module)


class Product(NamedTuple):
    """x W^T + b. The weight is laid out once, and may be of a type that multiplies faster.

    scales: what one unit of each output's weights is worth, in int8; None: they are what they are.
    """

    weight: Float[Tensor, "inputs outputs"]
    bias: Float[Tensor, " outputs"]
    scales: Float[Tensor, " outputs"] | None = None

    @staticmethod
    def of(layers: list[nn.Linear], precision: Precision) -> Product:
        """Lay out one or several layers that read the same: their outputs stand side by side.

        In float32 a few rows multiply a transposed weight up to a fifth faster (measured with
        1, 64 and 320 rows); the others do not care.
        """
        weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [
            weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
            for layer in layers
        ]
        if precision == "bfloat16":
            return Product(weight.bfloat16().t(), torch.cat(biases).bfloat16())
        if precision == "int8":
            whole, scales = in_eighths(weight)
            return Product(whole.t(), torch.cat(biases), scales)
        return Product(weight.t().contiguous(), torch.cat(biases))

    def __call__(self, rows: Float[Tensor, "rows inputs"]) -> Float[Tensor, "rows outputs"]:
        """Multiply, in the weight's type."""
        if self.scales is not None:
            return multiply_eighths(rows, self.weight, self.scales, self.bias)
        return torch.addmm(self.bias, rows.to(self.weight.dtype), self.weight)


class HalfLinear(nn.Linear):
    """A linear layer that multiplies in bfloat16; its inputs and outputs keep their type."""

    def forward(self, input: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Multiply."""
        return F.linear(input.bfloat16(), self.weight, self.bias).to(input.dtype)


class EighthLinear(nn.Linear):
    """A linear layer that multiplies in int8; its inputs and outputs keep their type."""

    scales: Tensor

    def forward(self, input: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Multiply."""
        rows = input.reshape(-1, self.in_features)
        found = multiply_eighths(rows, self.weight.t(), self.scales, self.bias)
        return found.view(*input.shape[:-1], self.out_features)


def reduced(model: Module, precision: Precision) -> Module:
    """Return the model with its linear layers in this precision; float32 is the model itself.

    Everything else, such as embeddings, normalisation and recurrent cells, stays as it is.
    """
    if precision == "float32":
        return model
    model = copy.deepcopy(model).requires_grad_(False)
    less = _halved if precision == "bfloat16" else _in_eighths
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                setattr(parent, name, less(child))
    return model


def _halved(layer: nn.Linear) -> HalfLinear:
    half = HalfLinear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    half.weight = nn.Parameter(layer.weight.bfloat16(), requires_grad=False)
    if layer.bias is not None:
        half.bias = nn.Parameter(layer.bias.bfloat16(), requires_grad=False)
    return half.train(layer.training)


def _in_eighths(layer: nn.Linear) -> EighthLinear:
    found = EighthLinear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    whole, scales = in_eighths(layer.weight)
    found.weight = nn.Parameter(whole, requires_grad=False)
    found.register_buffer("scales", scales)
    if layer.bias is not None:
        found.bias = nn.Parameter(layer.bias, requires_grad=False)
    return found.train(layer.training)
