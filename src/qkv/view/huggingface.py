"""The attentions of a transformers output, as maps. Nothing of transformers is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qkv.view.arrays import array_of
from qkv.view.maps import AttentionMaps
from qkv.view.words import Words

# field of an output -> the kind of attention, whether its rows are the source, its columns are
_FIELDS = {
    "encoder_attentions": ("encoder self-attention", True, True),
    "decoder_attentions": ("decoder self-attention", False, False),
    "cross_attentions": ("cross-attention", False, True),
}


def is_output(given: Any) -> bool:
    """Say whether this is an output of transformers, by the names of its fields."""
    return any(hasattr(given, name) for name in ("attentions", *_FIELDS))


def from_transformers(
    output: Any,
    source: Sequence[str],
    target: Sequence[str] | None = None,
    *,
    title: str = "",
    item: int | None = None,
    causal: bool = False,
    attention_mask: Any = None,
    words: tuple[Words, Words] | None = None,
) -> list[AttentionMaps]:
    """Return the maps of a forward pass or of `generate`: one for each kind of attention it has.

    Args:
        output: with `attentions` (a model of one sequence, labelled by `source`), or with any of
            `encoder_attentions`, `decoder_attentions` and `cross_attentions`.
        source, target: the tokens. After `generate`, the target's are what the decoder read: the
            start token first.
        title: what is shown.
        item: which one of the batch; None: the only one.
        causal: whether `attentions` are of a decoder; those beside an encoder are known to be.
        attention_mask: [batch, source], 1 = real: the padding, shown as not allowed.
        words: of targets and of sources.

    Raises:
        ValueError: no attentions were kept, labels that do not fit, or a batch of which none is
            chosen.
    """
    found = _kept(output)
    item = _only(found[0][0]) if item is None else item
    real = None if attention_mask is None else np.asarray(array_of(attention_mask))[item] > 0
    maps = []
    for layers, (kind, rows_are_source, columns_are_source) in found:
        weights = _item(layers, item)
        rows = _labels(source if rows_are_source else target, kind)
        columns = _labels(source if columns_are_source else target, kind)
        masked = causal if kind == "self-attention" else kind == "decoder self-attention"
        padding = real if columns_are_source else None
        maps.append(
            AttentionMaps(
                weights,
                rows,
                columns,
                title=title,
                kind=kind,
                allowed=_allowed(weights[0].shape[-2:], masked, padding),
                words=_words(words, rows_are_source, columns_are_source),
            )
        )
    return maps


def _kept(output: Any) -> list[tuple[Sequence[Any], tuple[str, bool, bool]]]:
    """Return the attentions that the output has, and what each is of; see _FIELDS."""
    found = []
    if getattr(output, "attentions", None):
        # a decoder beside an encoder calls its own `attentions`, too: it has the target's labels
        beside = bool(getattr(output, "cross_attentions", None))
        own = _FIELDS["decoder_attentions"] if beside else ("self-attention", True, True)
        found.append((output.attentions, own))
    found += [
        (getattr(output, name), of) for name, of in _FIELDS.items() if getattr(output, name, None)
    ]
    if not found:
        raise ValueError(
            'the output keeps no attentions; load the model with attn_implementation="qkv" or '
            '"eager", and call it with output_attentions=True'
        )
    return found


def _only(layers: Sequence[Any]) -> int:
    """Return the place of the only item of a batch."""
    first = layers[0]
    count = (first[0] if isinstance(first, (list, tuple)) else first).shape[0]
    if count != 1:
        raise ValueError(
            f"the output is of a batch of {count}; choose one (beams count, too): "
            "qkv.view.Viewer(qkv.view.from_transformers(output, source, target, item=0))"
        )
    return 0


def _item(layers: Sequence[Any], item: int) -> list[np.ndarray]:
    """Return [heads, targets, sources] a layer; `generate` gives a tuple of layers a step."""
    if not isinstance(layers[0], (list, tuple)):
        return [array_of(layer[item]) for layer in layers]
    steps = [[array_of(layer[item]) for layer in step] for step in layers]
    return [_stack([step[layer] for step in steps]) for layer in range(len(steps[0]))]


def _stack(steps: Sequence[np.ndarray]) -> np.ndarray:
    """Put the rows of the steps below each other; a self-attention gains a column a step."""
    longest = steps[-1].shape[-1]
    return np.concatenate(
        [np.pad(step, ((0, 0), (0, 0), (0, longest - step.shape[-1]))) for step in steps], axis=1
    )


def _labels(labels: Sequence[str] | None, kind: str) -> Sequence[str]:
    if labels is None:
        raise ValueError(f"the output has {kind}, so it needs the target's labels too")
    return labels


def _allowed(shape: tuple[int, int], causal: bool, real: np.ndarray | None) -> np.ndarray | None:
    if real is None and not causal:
        return None
    allowed = np.ones(shape, bool)
    if causal:  # rows of a cached step stand at the end
        allowed = np.tril(allowed, shape[1] - shape[0])
    return allowed if real is None else allowed & real


def _words(
    words: tuple[Words, Words] | None, rows_are_source: bool, columns_are_source: bool
) -> tuple[Words, Words] | None:
    if words is None:
        return None
    target, source = words
    return (source if rows_are_source else target), (source if columns_are_source else target)
