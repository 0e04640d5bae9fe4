"""Attention maps: layers x heads of weights over one pair of sequences, with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from qkv.view.arrays import array_of, labels_of
from qkv.view.figure import Figure
from qkv.view.measure import WEIGHT, Measure
from qkv.view.words import Words, merge

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

KINDS = (
    "attention",
    "encoder self-attention",
    "decoder self-attention",
    "self-attention",
    "cross-attention",
    "saliency",
)
_AXES = "[layers, heads, targets, sources]"


@dataclass(frozen=True, eq=False, repr=False)
class AttentionMaps:
    """What a model attended to in one pair: weights[l][h, i, j] is target i on source j.

    The weights are held, not copied: those of thousands of tokens would not fit twice. Do not
    change them while they are shown.

    Args:
        weights: [layers, heads, targets, sources] or one [heads, targets, sources] a layer;
            arrays or tensors.
        target, source: one label a row, one a column.
        title: what is shown: model, sentence.
        kind: one of KINDS.
        allowed: True where a target may attend to a source, for what must not read as a weight of
            zero: [targets, sources], with heads and layers before it, or 1 for all of them. None:
            everything is allowed.
        words: of the targets and of the sources, for a reader who wants words rather than tokens.
        note: how the weights were computed.
        measure: what the numbers are; weights between 0 and 1, or signed values (VALUE).

    Raises:
        ValueError: labels and axes differ in number, a weight is outside [0, 1], a forbidden cell
            has a weight, or an unknown kind.
    """

    weights: Sequence[Float[np.ndarray, "heads targets sources"]]
    target: Sequence[str]
    source: Sequence[str]
    title: str = ""
    kind: str = "attention"
    allowed: Bool[np.ndarray, "layers heads targets sources"] | None = None
    words: tuple[Words, Words] | None = None
    note: str = ""
    measure: Measure = WEIGHT

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}; allowed: {', '.join(KINDS)}")
        layers = tuple(array_of(layer) for layer in self.weights)
        target, source = labels_of("target", self.target), labels_of("source", self.source)
        _check_shapes(layers, len(target), len(source))
        for number, layer in enumerate(layers):
            self.measure.check(layer, f"weights[{number}]")
        object.__setattr__(self, "weights", layers)
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "source", source)
        if self.allowed is not None:
            object.__setattr__(self, "allowed", _mask(self.allowed, self.shape))
            self._check_forbidden()
        if self.words is not None:
            _check_words(self.words, len(target), len(source))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """layers, heads, targets, sources."""
        heads, targets, sources = self.weights[0].shape
        return len(self.weights), heads, targets, sources

    def head(self, layer: int, head: int) -> Float[np.ndarray, "targets sources"]:
        """Return the weights of one head."""
        return self.weights[layer][head]

    def forbidden(self, layer: int, head: int) -> Bool[np.ndarray, "targets sources"] | None:
        """Return where one head may not attend, or None if it may everywhere."""
        if self.allowed is None:
            return None
        layers, heads = self.allowed.shape[:2]
        return ~self.allowed[layer if layers > 1 else 0, head if heads > 1 else 0]

    def select(
        self, layers: Iterable[int] | None = None, heads: Iterable[int] | None = None
    ) -> AttentionMaps:
        """Return some of the layers and heads: how to narrow what is too much to write.

        Raises:
            ValueError: there is no such layer or head.
        """
        chosen = list(range(self.shape[0]) if layers is None else layers)
        some = list(range(self.shape[1]) if heads is None else heads)
        for name, asked, count in zip(("layer", "head"), (chosen, some), self.shape, strict=False):
            for number in asked:
                if not 0 <= number < count:
                    raise ValueError(f"there is no {name} {number} in {count} {name}s, from 0")
        allowed = self.allowed
        if allowed is not None:
            allowed = allowed[chosen] if allowed.shape[0] > 1 else allowed
            allowed = allowed[:, some] if allowed.shape[1] > 1 else allowed
        names = f"layers {chosen}, heads {some} of {self.shape[0]} x {self.shape[1]}"
        note = "; ".join(filter(None, [self.note, names]))
        weights = [self.weights[layer][some] for layer in chosen]
        return replace(self, weights=weights, allowed=allowed, note=note)

    def figure(self, layer: int = 0, head: int | None = 0, *, by_words: bool = False) -> Figure:
        """Return one head, or the mean of a layer's heads (None), as a heat map of its own.

        Its note says which it is. SVG and PNG files are drawn from it.

        Raises:
            ValueError: words are asked of maps that know none.
        """
        note = [self.note, f"{self.kind}, layer {layer}"]
        note.append(f"mean of {self.shape[1]} heads" if head is None else f"head {head}")
        values = self.weights[layer].mean(0, dtype=np.float64) if head is None else None
        weights = self.head(layer, head or 0) if values is None else values
        target, source = self.target, self.source
        if by_words:
            if self.words is None:
                raise ValueError("these maps know no words; give AttentionMaps its words")
            weights = merge(weights, *self.words)
            target, source = (axis.labels for axis in self.words)
            note.append("words: source tokens added, target tokens averaged")
        said = "; ".join(filter(None, note))
        return Figure(weights, target, source, self.title, said, self.measure)

    def figures(self) -> list[Figure]:
        """Return the one head there is as a heat map.

        Raises:
            ValueError: there are several.
        """
        if self.shape[:2] != (1, 1):
            raise ValueError(
                f"an image shows one head, and here are {self.shape[0]} layers of "
                f"{self.shape[1]}; choose with .figure(layer, head), or save the .html"
            )
        return [self.figure()]

    def maps(self) -> AttentionMaps:
        """Return itself: figures and maps are shown by the same viewer."""
        return self

    def __repr__(self) -> str:
        layers, heads, targets, sources = self.shape
        size = f"{layers} layers x {heads} heads, {targets} targets x {sources} sources"
        return f"AttentionMaps({self.title!r}, {self.kind}, {size})"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from qkv.view.viewer import Viewer  # it shows maps, so it imports this module

        return Viewer([self])._repr_mimebundle_(include, exclude)

    def _check_forbidden(self) -> None:
        for layer, head in np.ndindex(self.shape[:2]):
            forbidden = self.forbidden(layer, head)
            assert forbidden is not None
            if (self.head(layer, head)[forbidden] != 0).any():
                row, column = np.argwhere(forbidden & (self.head(layer, head) != 0))[0]
                raise ValueError(
                    f"weights[{layer}][{head}, {row}, {column}] is "
                    f"{self.head(layer, head)[row, column]}, where attending is not allowed; "
                    "give the mask that the weights were computed with (True = may attend)"
                )


def _check_shapes(layers: Sequence[np.ndarray], targets: int, sources: int) -> None:
    if not layers:
        raise ValueError(f"weights hold no layer; give {_AXES}")
    for number, layer in enumerate(layers):
        if layer.ndim != 3 or not layer.shape[0]:
            raise ValueError(
                f"weights[{number}] has shape {layer.shape}; the weights are {_AXES}: choose one "
                "item of the batch first"
            )
        if layer.shape != (layers[0].shape[0], targets, sources):
            raise ValueError(
                f"weights[{number}] has shape {layer.shape}, but there are {layers[0].shape[0]} "
                f"heads in the first layer, {targets} target and {sources} source labels; every "
                "row needs a target token, every column a source token"
            )


def _mask(allowed: Any, shape: tuple[int, int, int, int]) -> np.ndarray:
    array = np.asarray(allowed.cpu() if hasattr(allowed, "cpu") else allowed)
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    fits = array.ndim == 4 and all(
        size in (1, whole) for size, whole in zip(array.shape[:2], shape[:2], strict=True)
    )
    if array.dtype != bool or not fits or array.shape[2:] != shape[2:]:
        raise ValueError(
            f"allowed is {array.dtype} of shape {array.shape}; it must be boolean (True = may "
            f"attend), {shape} or with 1 layer or 1 head for all"
        )
    return array


def _check_words(words: tuple[Words, Words], targets: int, sources: int) -> None:
    for name, axis, count in zip(("target", "source"), words, (targets, sources), strict=True):
        if len(axis.of) != count:
            raise ValueError(
                f"the {name} words speak of {len(axis.of)} tokens, and there are {count}"
            )
