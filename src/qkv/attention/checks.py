"""What a caller can get wrong, and what to say about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qkv.attention.biases.position_bias import Placed, PositionBias
from qkv.attention.masks.mask import Mask

if TYPE_CHECKING:
    from qkv.attention.scores.score import Score

_NEEDS = ("context", "weights", "stats")


def check_inputs(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Refuse tensors that cannot attend to one another.

    Raises:
        ValueError: naming the tensor, its type, shape or dtype, and what would fit.
    """
    check_tensors(query, key, value)
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        shape = tensor.shape
        if len(shape) < 2 or not shape[-2] or not shape[-1]:
            raise ValueError(
                f"{name} is [..., length, dim] with length and dim of 1 or more, "
                f"got {list(tensor.shape)}"
            )
        if tensor.dtype != query.dtype and not torch.is_autocast_enabled(tensor.device.type):
            raise ValueError(
                f"query is {query.dtype} and {name} is {tensor.dtype}: convert one of them"
            )
    if query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        return
    dimensions = max(query.dim(), key.dim(), value.dim())
    leading_shape(
        {
            name: tensor[(None,) * (dimensions - tensor.dim())]
            for name, tensor in (("query", query), ("key", key), ("value", value))
        }
    )


def check_tensors(query: object, key: object, value: object) -> None:
    """Refuse lists, arrays, and tensors of ids.

    Raises:
        ValueError: naming what was given, and how to make a tensor of numbers of it.
    """
    for name, given in (("query", query), ("key", key), ("value", value)):
        if isinstance(given, Tensor) and given.is_floating_point():
            continue
        if not isinstance(given, Tensor):
            kind = f"{type(given).__module__}.{type(given).__name__}".removeprefix("builtins.")
            raise ValueError(
                f"{name} is a {kind}; attention takes tensors of floating-point numbers, such as "
                f"torch.as_tensor({name}, dtype=torch.float32)"
            )
        raise ValueError(
            f"{name} is {given.dtype}; attention takes floating-point numbers: convert it, "
            f"{name}.float(), or embed the ids that it holds"
        )


def check_part(slot: str, given: object, kind: type) -> None:
    """Refuse a class, or anything else that is no part of this kind, in a slot.

    Raises:
        ValueError: saying how to make an object.
    """
    if isinstance(given, type):
        raise ValueError(
            f"{slot} is the class {given.__name__} itself; pass an object of it: "
            f"{given.__name__}(...)"
        )
    if not isinstance(given, kind):
        raise ValueError(
            f"{slot} is a name, or an object of qkv.{slot}s, got a {type(given).__name__}"
        )


def check_lengths(mask: Mask | None, keys: int) -> None:
    """Refuse lengths that say more keys than there are: they belong to another tensor.

    Only where all keys are given at once: a cache may still grow to the lengths of its mask.

    Raises:
        ValueError: naming the first such batch item.
    """
    found = None if mask is None else mask.longer_than(keys)
    if found is not None:
        item, length = found
        raise ValueError(
            f"Mask.lengths says {length} keys for batch item {item}, but there are {keys} keys; "
            "give the lengths of these keys, or cut them with lengths.clamp(max=key.shape[-2])"
        )


def check_pairs(key: Tensor, value: Tensor) -> None:
    """Refuse more keys than values, or fewer: torch's fused kernel would read past the end.

    Raises:
        ValueError: naming both numbers.
    """
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"every key needs a value: {key.shape[-2]} keys, {value.shape[-2]} values "
            "(both are [..., keys, dim])"
        )


def leading_shape(tensors: dict[str, Tensor]) -> torch.Size:
    """Batch and heads of the result; a mask of only [queries, keys] has no say.

    Raises:
        ValueError: sizes that are neither equal nor 1, or not equally many dimensions.
    """
    shapes = [
        tensor.shape[:-2] for name, tensor in tensors.items() if name != "mask" or tensor.dim() > 2
    ]
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    sizes = [[size for size in axis if size != 1] for axis in zip(*shapes, strict=False)]
    if len({len(shape) for shape in shapes}) > 1 or any(
        size != axis[0] for axis in sizes for size in axis
    ):
        given = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise ValueError(
            f"leading dimensions do not fit: {given}. Before [time, dim] come batch (and heads), "
            "equal or 1"
        )
    return torch.Size(axis[0] if axis else 1 for axis in sizes)


def check_widths(score: Score, query: Tensor, prepared: Tensor) -> None:
    """Refuse a query that this score cannot compare with these keys.

    Raises:
        ValueError: the widths differ from what the score was built for.
    """
    wanted = prepared.shape[-1] if score.family == "dot" else score.query_dim
    if wanted is not None and query.shape[-1] != wanted:
        raise ValueError(
            f"the {type(score).__name__} score wants queries of width {wanted}, got "
            f"{query.shape[-1]}; General, Additive and Concat compare queries and keys of "
            "different widths"
        )


def check_key(score: Score, key: Tensor) -> None:
    """Refuse keys that this score was not built for.

    Raises:
        ValueError: the width differs.
    """
    if score.key_dim is not None and key.shape[-1] != score.key_dim:
        raise ValueError(
            f"the {type(score).__name__} score was built for keys of width {score.key_dim}, "
            f"got {key.shape[-1]}"
        )


def check_mask(mask: Mask | None) -> None:
    """Refuse anything but a Mask.

    Raises:
        ValueError: naming both ways to read a bare boolean.
    """
    if mask is None or isinstance(mask, Mask):
        return
    if isinstance(mask, Tensor):
        given = f"a bare {mask.dtype} tensor {list(mask.shape)}"
    else:
        given = f"a {type(mask).__name__}"
    raise ValueError(
        f"mask is {given}, which can be read two ways. Say which: qkv.Mask.keep(t) if True = may "
        "attend (scaled_dot_product_attention), qkv.Mask.drop(t) if True = may not "
        "(nn.MultiheadAttention); numbers to add to the energies go to bias="
    )


def check_need(need: object) -> None:
    """Refuse an unknown `need`.

    Raises:
        ValueError: naming the known ones.
    """
    if need not in _NEEDS:
        raise ValueError(
            f"need is one of {', '.join(_NEEDS)}, or qkv.WeightsOf(heads=..., queries=...) where "
            f"weights can be chosen, got {need!r}"
        )


def check_bias(bias: object) -> None:
    """Refuse a bias that is a mask.

    Raises:
        ValueError: it is not a tensor of floating-point numbers.
    """
    if isinstance(bias, Tensor) and bias.is_floating_point():
        return
    if bias is not None and not isinstance(bias, PositionBias):
        kind = bias.dtype if isinstance(bias, Tensor) else type(bias).__name__
        raise ValueError(
            "bias is added to the energies: a floating-point tensor, or a bias on positions such "
            f"as qkv.biases.ALiBi(heads); got {kind}. A boolean "
            "tensor is a mask: Mask.keep(t) if True = may attend, Mask.drop(t) if True = may not"
        )


def check_reweighter(reweighter: object) -> None:
    """Refuse a reweighter that cannot be called, a name among them.

    Raises:
        ValueError: naming what to pass.
    """
    if isinstance(reweighter, type):
        raise ValueError(
            f"reweighter is the class {reweighter.__name__} itself; pass an object of it: "
            f"{reweighter.__name__}(...)"
        )
    if reweighter is not None and not callable(reweighter):
        raise ValueError(
            f"reweighter is an object such as qkv.reweighters.Gaussian(positions, sigma), got "
            f"{reweighter!r}: a name does not say where its positions are"
        )


def check_positions(positions: Tensor, queries: int) -> None:
    """Refuse positions that are not one for each query.

    Raises:
        ValueError: naming their shape or dtype.
    """
    kind = type(positions).__name__
    if isinstance(positions, Tensor):
        kind = f"{positions.dtype} {list(positions.shape)}"
        whole = not (positions.is_floating_point() or positions.dtype == torch.bool)
        if whole and positions.shape == (queries,):
            return
    raise ValueError(
        f"positions say where each of the {queries} queries stands in its sequence, a tensor of "
        f"{queries} integers that all batch items share, got {kind}"
    )


def check_moves(reweighter: object, masked: bool) -> None:
    """Refuse to move weight where some keys are forbidden: it might land on them.

    Raises:
        ValueError: saying what to do instead.
    """
    if masked and getattr(reweighter, "moves_weight", False):
        raise ValueError(
            f"{type(reweighter).__name__} moves weight from key to key, but the mask (or a bias "
            "of -inf) forbids some, and weight might land there; attend without a mask (the slots "
            "of a memory have no padding), or group items by their number of keys"
        )


def check_bias_fits(bias: Tensor | Placed, query: Tensor, key: Tensor) -> None:
    """Refuse a bias that cannot be added to the energies.

    Raises:
        ValueError: naming its shape and the energies'.
    """
    if isinstance(bias, Placed):
        heads = query.shape[-3] if query.dim() > 2 else 0
        if heads != bias.bias.heads:
            raise ValueError(
                f"the {type(bias.bias).__name__} bias was built for {bias.bias.heads} heads, but "
                f"query is {list(query.shape)}: heads stand just before [queries, dim]"
            )
        return
    rows, columns = query.shape[-2], key.shape[-2]
    own = (1, *bias.shape)[-2:]
    if bias.dim() > key.dim() or own[0] not in (1, rows) or own[1] not in (1, columns):
        raise ValueError(
            f"bias {list(bias.shape)} cannot be added to energies [..., {rows} queries, "
            f"{columns} keys]: sizes are equal or 1, and heads stand just before the queries"
        )
