"""From what the models found to what clients get."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

from qkv.explain import align_tokens, align_words
from qkv.figures import label_figure, maps_of, source_labels, tag_figure
from qkv.labelling import Classification, Tagged
from qkv.run import Run
from qkv.search.translate import Translation
from qkv.serve.refusal import Refusal
from qkv.serve.schemas import (
    AlignAnswer,
    Aligned,
    AlignRequest,
    AttentionAnswer,
    AttentionKind,
    AttentionRequest,
    Classified,
    Link,
    Output,
    TaggedText,
    Token,
    Translated,
    ViewRequest,
)
from qkv.serve.served import Served
from qkv.text import tokens as text_tokens
from qkv.view.html import contents
from qkv.view.maps import AttentionMaps
from qkv.view.pack import pack

SHOWN = 8
"""Labels whose probability the page shows."""
View = tuple[dict[str, Any], list[AttentionMaps]]


def translated(run: Run, index: int, outputs: list[Translation], attention: bool) -> Translated:
    """Return one text's outputs."""
    source = outputs[0].source
    return Translated(
        index=index,
        source=source.text,
        source_tokens=[_token(token) for token in source.tokens],
        outputs=[
            Output(
                text=output.text,
                log_prob=output.log_prob,
                score=output.score,
                truncated=not output.complete,
                tokens=run.target.symbols(output.ids),
                attention=output.attention.tolist()
                if attention and output.attention is not None
                else None,
            )
            for output in outputs
        ],
    )


def classified(index: int, found: Classification, attention: bool) -> Classified:
    """Return one text's label."""
    return Classified(
        index=index,
        source=found.source.text,
        source_tokens=[_token(token) for token in found.source.tokens],
        label=found.label,
        probability=found.probability,
        probabilities=found.probabilities,
        attention=found.attention.tolist() if attention else None,
    )


def tagged(index: int, found: Tagged, attention: bool) -> TaggedText:
    """Return the labels of one text's words."""
    return TaggedText(
        index=index,
        source=found.source.text,
        source_tokens=[_token(token) for token in found.source.tokens],
        tags=list(found.tags),
        probabilities=list(found.probabilities),
        attention=found.attention.tolist() if attention else None,
    )


def aligned(served: Served, asked: AlignRequest) -> AlignAnswer:
    """Return the links of the pairs.

    Raises:
        Refusal: the sides differ in number, or pass a limit.
    """
    sources, targets = served.within(asked.source), _sides(asked.target)
    if len(sources) != len(targets):
        raise Refusal(
            422, f"{len(sources)} sources, but {len(targets)} targets; give one for each"
        )
    _within_target(served, targets)
    align = align_words if asked.units == "words" else align_tokens
    found = [
        align(
            forced.attention,  # type: ignore[arg-type]
            forced.source,
            forced.target,
            method=asked.method,
            threshold=asked.threshold,
        )
        for forced in served.run.force(sources, targets)
    ]
    return AlignAnswer(
        model=served.name,
        results=[
            Aligned(
                source=[_token(token) for token in one.source],
                target=[_token(token) for token in one.target],
                links=[Link(**link._asdict()) for link in one.links],
                pharaoh=one.pharaoh(),
            )
            for one in found
        ],
    )


def attended(served: Served, asked: AttentionRequest) -> AttentionAnswer:
    """Return the attentions of a model on a pair and, if one is named, its weights.

    Raises:
        Refusal: no such attention or head, or the texts pass a limit.
    """
    found = read(served, asked.source, asked.target)
    maps = {one.kind: one for one in maps_of(served.run, found)}
    kinds = [
        AttentionKind(kind=kind, layers=one.shape[0], heads=one.shape[1])
        for kind, one in maps.items()
    ]
    answer = AttentionAnswer(model=served.name, target=found.text, attentions=kinds)
    if asked.kind is None:
        return answer
    if asked.kind not in maps:
        raise Refusal(422, f"no attention {asked.kind!r}; there are: {', '.join(maps)}")
    chosen = maps[asked.kind]
    layers, heads, *_ = chosen.shape
    if not -layers <= asked.layer < layers:
        raise Refusal(422, f"layer is {asked.layer}; there are {layers}, from 0")
    if asked.head is not None and asked.head >= heads:
        raise Refusal(422, f"head is {asked.head}; a layer has {heads}, from 0")
    figure = chosen.figure(asked.layer % layers, asked.head)
    return answer.model_copy(
        update={
            "kind": asked.kind,
            "layer": asked.layer % layers,
            "head": asked.head,
            "rows": list(figure.target),
            "columns": list(figure.source),
            "weights": figure.weights.tolist(),
        }
    )


def viewed(served: Served, asked: ViewRequest) -> dict[str, Any]:
    """Return what the page shows: what a model makes of a text, and all its maps, packed.

    maps: what the viewer takes; heads: each head packed by itself, by map, layer and head.

    Raises:
        Refusal: the text passes a limit.
    """
    (text,) = served.within(asked.text)
    said, maps = VIEWS[served.run.network.predicts](served, text)
    return said | {
        "contents": contents(maps, served.name, "exact"),
        "heads": {
            f"{kind}-{layer}-{head}": base64.b64encode(pack(one, layer, head)).decode()
            for kind, one in enumerate(maps)
            for layer, head in np.ndindex(one.shape[:2])
        },
    }


def _translation(served: Served, text: str) -> View:
    found = served.run.translate([text])[0][0]
    said = {"output": found.text}
    if not served.run.model.attends:
        return said, []
    return said, maps_of(served.run, found, f"{served.name}: {found.source.text} → {found.text}")


def _label(served: Served, text: str) -> View:
    found = served.run.classify([text])[0]
    shown = dict(list(found.probabilities.items())[:SHOWN])
    title = f"{served.name}: {found.source.text} → {found.label}"
    maps = [label_figure(served.run, found, title).maps()]
    return {"output": found.label, "probabilities": shown}, maps


def _tags(served: Served, text: str) -> View:
    found = served.run.tag([text])[0]
    words = source_labels(served.run, found.source)
    title = f"{served.name}: {found.source.text} → {found.text}"
    return {
        "output": found.text,
        "tags": list(zip(words, found.tags, found.probabilities, strict=True)),
    }, [tag_figure(served.run, found, title).maps()]


VIEWS: dict[str, Callable[[Served, str], View]] = {
    "sequence": _translation,
    "label": _label,
    "tags": _tags,
}
"""By what a model predicts."""


def read(served: Served, source: str, target: str | None) -> Translation:
    """Return a pair as the model reads it; without a target, with the model's own output.

    Raises:
        Refusal: a text passes a limit.
    """
    (text,) = served.within(source)
    if target is None:
        return served.run.translate([text])[0][0]
    _within_target(served, [target])
    return served.run.force([text], [target])[0]


def _sides(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def _within_target(served: Served, targets: list[str]) -> None:
    limit = served.limits.tokens
    if longest := served.run.model.longest_target:
        limit = min(limit, longest - 1)
    for place, text in enumerate(targets):
        tokens = len(served.run.target.ids(text))
        if not text.strip() or tokens > limit:
            raise Refusal(
                422, f"target {place} has {tokens} tokens; 1 to {limit} are allowed", limit
            )


def _token(token: text_tokens.Token) -> Token:
    return Token(text=token.text, start=token.start, end=token.end)
