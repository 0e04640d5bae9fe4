"""`show`: from weights, or from what `attend` or transformers returned, to what is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qkv.attention.result import Attended
from qkv.view.answers import figure_of_answer, is_answer
from qkv.view.arrays import array_of
from qkv.view.figure import Figure
from qkv.view.huggingface import from_transformers, is_output
from qkv.view.maps import AttentionMaps
from qkv.view.measure import WEIGHT, Measure
from qkv.view.viewer import Viewer
from qkv.view.words import Words

if TYPE_CHECKING:
    from qkv.attention.masks import Mask


def show(
    weights: Any,
    source: Sequence[str] | None = None,
    target: Sequence[str] | None = None,
    title: str = "",
    *,
    mask: Mask | None = None,
    words: tuple[Words, Words] | None = None,
    measure: Measure = WEIGHT,
) -> Figure | AttentionMaps | Viewer:
    """Return what draws itself: in a notebook as a viewer, printed as text if it is one matrix.

    Args:
        weights: [targets, sources], with heads and layers before them ([heads, targets, sources],
            [layers, heads, targets, sources], or a list of one [heads, targets, sources] a layer);
            what `attend` returned with need="weights"; an output of transformers that has
            attentions; or what a run translated, classified or tagged. Any array or tensor, on
            any device, with or without gradient.
        source: one label a column; None: those of what a run answered.
        target: one label a row; None: the source attends to itself.
        title: what is shown: model, layer, head.
        mask: the mask that the weights were computed with: what it forbids is shown as such, not
            as a weight of zero.
        words: of targets and of sources (`qkv.view.words`), to be read as words.
        measure: what the numbers are: weights between 0 and 1, or `qkv.view.VALUE`, of any sign
            and size, which are shown in two colours with zero between them.

    Raises:
        ValueError: a batch of more than one item, no weights, or labels that do not fit.
    """
    if is_answer(weights):
        return figure_of_answer(weights, title)
    if source is None:
        raise ValueError("these weights come without tokens; give source: a label a column")
    if is_output(weights):
        return Viewer(from_transformers(weights, source, target, title=title), title)
    target = source if target is None else target
    layers = _layers(weights)
    if mask is None and words is None and len(layers) == 1 and layers[0].ndim == 2:
        return Figure(layers[0], target, source, title, measure=measure)
    layers = [layer[None] if layer.ndim == 2 else layer for layer in layers]
    allowed = None if mask is None else _allowed(mask, len(target), len(source))
    return AttentionMaps(
        layers, target, source, title, allowed=allowed, words=words, measure=measure
    )


def _layers(weights: Any) -> list[np.ndarray]:
    """Return one array a layer: [heads, targets, sources], or [targets, sources] alone."""
    if isinstance(weights, Attended):
        weights = _attended(weights)
    if isinstance(weights, (list, tuple)) and weights and hasattr(weights[0], "ndim"):
        if weights[0].ndim == 3:
            return [array_of(layer) for layer in weights]
        weights = np.stack([array_of(part) for part in weights])
    array = array_of(weights)
    if array.ndim not in (2, 3, 4):
        raise ValueError(
            f"weights have shape {array.shape}; give [targets, sources], [heads, targets, "
            "sources] or [layers, heads, targets, sources], of one item of the batch"
        )
    return list(array) if array.ndim == 4 else [array]


def _attended(out: Attended) -> Any:
    if out.weights is None:
        raise ValueError('no weights were kept; call attend with need="weights"')
    weights = out.weights
    if weights.ndim < 3:
        return weights
    if weights.shape[0] != 1:  # of three dimensions, too: [batch, targets, sources]
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}: a batch of {weights.shape[0]}; "
            "choose one item: show(out.weights[0], ...); heads without a batch: "
            "show(out.weights, ...)"
        )
    return weights[0] if weights.ndim == 4 else weights


def _allowed(mask: Mask, targets: int, sources: int) -> np.ndarray:
    if not hasattr(mask, "dense"):
        raise ValueError(
            "a mask is a qkv.Mask; half of the world means the opposite by a boolean: say "
            "Mask.keep(t) or Mask.drop(t)"
        )
    dense = mask.dense(targets, sources).cpu().numpy()
    while dense.ndim > 3 and dense.shape[0] == 1:
        dense = dense[0]  # a batch of one
    if dense.ndim > 3:
        raise ValueError(
            f"the mask is for a batch of {dense.shape[0]}; give that of the item shown"
        )
    return dense
