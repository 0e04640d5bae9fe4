"""From translations to figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qkv.explain import Saliency, every_head
from qkv.labelling import Classification, Tagged
from qkv.run import Run
from qkv.search.translate import Translation
from qkv.text import UNK, Encoded
from qkv.text.tokens import assign, words_of
from qkv.view import AttentionMaps, Figure
from qkv.view.measure import SHARE, WEIGHT
from qkv.view.words import Words

BEGIN, END = "<s>", "</s>"
KINDS = {
    "attention": "cross-attention",
    "encoder": "encoder self-attention",
    "self_attention": "decoder self-attention",
    "cross_attention": "cross-attention",
}
"""By the last part of an attention's name, or by its first where that is the encoder."""


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


def alignment_of(run: Run, translation: Translation) -> AttentionMaps:
    """Show what `figure_of` draws, to be read in tokens or in words.

    Raises:
        ValueError: the model has no attention.
    """
    figure = figure_of(run, translation)
    return AttentionMaps(
        [figure.weights[None]],
        figure.target,
        figure.source,
        title=figure.title,
        kind="cross-attention",
        words=_words(
            _words_of(translation.target, after=figure.target[len(translation.ids) :]),
            _words_of(translation.source, after=(END,)),
        ),
        note=figure.note,
    )


def maps_of(run: Run, translation: Translation, title: str = "") -> list[AttentionMaps]:
    """Show every layer and head of each kind of attention there is: encoder, decoder, across.

    A row says what was attended to when its token was predicted; the decoder reads its own output
    from BOS on, and may not look ahead.

    Raises:
        ValueError: the model has no attention.
    """
    require_attention(run)
    found = every_head(run.model, translation.source.ids, translation.ids)
    layers: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, weights in found.items():
        first, *_, last = name.split(".") * 2
        layers[KINDS["encoder" if first == "encoder" else last]].append(weights.numpy())
    source = [*source_labels(run, translation.source), END]
    output = run.target.symbols(translation.ids)
    sides = {
        "encoder self-attention": (source, source),
        "decoder self-attention": ([BEGIN, *output], [BEGIN, *output]),
        "cross-attention": ([*output, END], source),
    }
    read = _words_of(translation.source, after=(END,))
    began = _words_of(translation.target, before=(BEGIN,))
    words = {
        "encoder self-attention": _words(read, read),
        "decoder self-attention": _words(began, began),
        "cross-attention": _words(_words_of(translation.target, after=(END,)), read),
    }
    earlier = np.tri(len(output) + 1, dtype=bool)
    return [
        AttentionMaps(
            weights,
            *sides[kind],
            title=title or f"{translation.source.text} → {translation.text}",
            kind=kind,
            allowed=earlier if kind == "decoder self-attention" else None,
            words=words[kind],
            note=run.config.model.kind,
        )
        for kind, weights in layers.items()
    ]


def saliency_map(run: Run, found: Saliency, title: str = "") -> AttentionMaps:
    """Show a saliency as a heat map: the shares of each row, with a sign where the method has one.

    The values themselves are in `Saliency.values`, and in its JSON.
    """
    target, source = run.target.symbols(found.target.ids), source_labels(run, found.source)
    # Labels, and texts that have one, have no end symbol.
    ends = (END,) * (len(found.values) - len(target))
    words = _words(_words_of(found.target, after=ends), _words_of(found.source, after=ends))
    return AttentionMaps(
        [(found.signed_shares if found.signed else found.shares)[None].numpy()],
        target=[*target, *ends],
        source=[*source, *ends],
        title=f"{found.method} · {title or f'{found.source.text} → {found.target.text}'}",
        kind="saliency",
        words=words if ends else None,  # labels are shown by token, as their attention is
        note=f"{found.method}: {found.note}; as shares of the magnitudes of their row",
        measure=SHARE if found.signed else WEIGHT,
    )


def _words_of(text: Encoded, before: Sequence[str] = (), after: Sequence[str] = ()) -> Words:
    """Return the words that the tokens of a text are part of, between symbols that stand alone."""
    found = words_of(text.text)
    owners = assign(text.tokens, found) if found else []
    kept = sorted(set(owners))  # a word that was normalised away has no token
    of = [len(before) + kept.index(owner) for owner in owners]
    last = len(before) + len(kept)
    return Words(
        (*before, *(found[word].text for word in kept), *after),
        (*range(len(before)), *of, *range(last, last + len(after))),
    )


def _words(target: Words, source: Words) -> tuple[Words, Words] | None:
    """Return both sides' words; None where every token is one already."""
    merged = any(len(side.labels) < len(side.of) for side in (target, source))
    return (target, source) if merged else None


def label_figure(run: Run, found: Classification, title: str = "") -> Figure:
    """Draw a text with the weight of each token: one row, named by the label."""
    return Figure(
        weights=found.attention.unsqueeze(0).numpy(),
        target=[found.label],
        source=source_labels(run, found.source),
        title=title or f"{found.source.text} → {found.label} ({100 * found.probability:.1f} %)",
        note=describe_attention(run),
    )


def tag_figure(run: Run, found: Tagged, title: str = "") -> Figure:
    """Draw what each word read of its sentence: a row a word, named by word and label."""
    words = source_labels(run, found.source)
    rows = [f"{word} {label}" for word, label in zip(words, found.tags, strict=True)]
    return Figure(
        weights=found.attention.numpy(),
        target=rows,
        source=words,
        title=title or f"{found.source.text} → {found.text}",
        note=describe_attention(run),
    )


def labelled(run: Run, texts: Sequence[str]) -> list[tuple[str, Figure]]:
    """Return the label of each text, or those of its words, and where they came from."""
    if run.network.predicts == "tags":
        return [(one.text, tag_figure(run, one)) for one in run.tag(texts)]
    return [(one.label, label_figure(run, one)) for one in run.classify(texts)]


def without_ends(figure: Figure) -> Figure:
    """Leave out the row and the column of the end symbols, which stand last."""
    rows = len(figure.target) - (figure.target[-1:] == (END,))
    columns = len(figure.source) - (figure.source[-1:] == (END,))
    return replace(
        figure,
        weights=figure.weights[:rows, :columns],
        target=figure.target[:rows],
        source=figure.source[:columns],
    )


def source_labels(run: Run, source: Encoded) -> list[str]:
    """Return a label for each source token: an unknown one is shown as the user wrote it."""
    symbols = run.source.symbols(source.ids)
    return [
        source.text[token.start : token.end] if id == UNK else symbol
        for token, id, symbol in zip(source.tokens, source.ids, symbols, strict=True)
    ]


def describe_attention(run: Run) -> str:
    """Say which attention the weights are."""
    model = run.config.model
    if model.kind == "transformer":
        read = model.alignment
        which = "mean of the heads of the last layer" if read == "mean" else f"layer.head {read}"
        return f"transformer, {model.cross_attention.score}, cross-attention: {which}"
    if model.kind == "rnnenc" or model.kind == "ntm":
        return f"{model.kind}, no alignment"
    if model.kind in ("classifier", "hierarchical", "tagger"):
        return f"{model.kind}, {model.encoder}, {model.attention.score}"
    return f"{model.kind}, {model.attention.score}"
