"""From translations to figures."""

from __future__ import annotations

from collections.abc import Sequence

from qkv.run import Run
from qkv.search.translate import Translation
from qkv.view import Figure

END = "</s>"


def require_attention(run: Run) -> None:
    """Refuse a run whose model has no attention.

    Raises:
        ValueError: it has none.
    """
    if not run.model.attends:
        raise ValueError(
            f"a {run.config.model.kind} has no attention to draw, align or replace by; train a "
            'model that has, such as model.kind = "rnnsearch"'
        )


def figure_of(run: Run, translation: Translation, title: str = "") -> Figure:
    """Draw where each output token looked.

    Raises:
        ValueError: the model has no attention.
    """
    require_attention(run)
    assert translation.attention is not None
    rows = run.target.symbols(translation.ids)
    return Figure(
        weights=translation.attention.numpy(),
        target=[*rows, END] if translation.complete else rows,
        source=[*run.source.symbols(translation.source.ids), END],
        title=title or f"{translation.source.text} → {translation.text}",
        note=describe_attention(run),
    )


def figures_of(run: Run, translations: Sequence[Translation]) -> list[Figure]:
    """Draw several."""
    return [figure_of(run, translation) for translation in translations]


def describe_attention(run: Run) -> str:
    """Say which attention the weights are."""
    model = run.config.model
    if model.kind == "transformer":
        read = model.alignment
        which = "mean of the heads of the last layer" if read == "mean" else f"layer.head {read}"
        return f"transformer, {model.cross_attention.score}, cross-attention: {which}"
    if model.kind == "rnnenc":
        return "rnnenc, no attention"
    return f"{model.kind}, {model.attention.score}"
