"""From translations to figures."""

from __future__ import annotations

from collections.abc import Sequence

from qkv.run import Run
from qkv.search.translate import Translation
from qkv.text import UNK, Encoded
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
        source=[*source_labels(run, translation.source), END],
        title=title or f"{translation.source.text} → {translation.text}",
        note=describe_attention(run),
    )


def without_ends(figure: Figure) -> Figure:
    """Leave out the row and the column of the end symbols, which stand last."""
    rows = len(figure.target) - (figure.target[-1:] == (END,))
    columns = len(figure.source) - (figure.source[-1:] == (END,))
    return Figure(
        figure.weights[:rows, :columns],
        figure.target[:rows],
        figure.source[:columns],
        figure.title,
        figure.note,
    )


def source_labels(run: Run, source: Encoded) -> list[str]:
    """Return a label for each source token: an unknown one is shown as the user wrote it."""
    symbols = run.source.symbols(source.ids)
    return [
        source.text[token.start : token.end] if id == UNK else symbol
        for token, id, symbol in zip(source.tokens, source.ids, symbols, strict=True)
    ]


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
    if model.kind == "rnnenc" or model.kind == "ntm":
        return f"{model.kind}, no alignment"
    return f"{model.kind}, {model.attention.score}"
