"""From what the models found to what clients get."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from qkv.explain import align_tokens, align_words
from qkv.figures import maps_of
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
    Link,
    Output,
    Token,
    Translated,
)
from qkv.serve.served import Served
from qkv.text import tokens as text_tokens
from qkv.view.html import contents
from qkv.view.pack import pack


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


def aligned(served: Served, asked: AlignRequest) -> AlignAnswer:
    """Return the links of the pairs.

    Raises:
        Refusal: the sides differ in number, pass a limit, or the model has no attention.
    """
    _require_attention(served)
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


def viewed(served: Served, asked: AttentionRequest) -> dict[str, Any]:
    """Return what the page's viewer takes: all maps of a pair, each head packed by itself."""
    found = read(served, asked.source, asked.target)
    maps = maps_of(served.run, found, title=f"{served.name}: {found.source.text} → {found.text}")
    return {
        "target": found.text,
        "contents": contents(maps, served.name, "exact"),
        "heads": {
            f"{kind}-{layer}-{head}": base64.b64encode(pack(one, layer, head)).decode()
            for kind, one in enumerate(maps)
            for layer, head in np.ndindex(one.shape[:2])
        },
    }


def read(served: Served, source: str, target: str | None) -> Translation:
    """Return a pair as the model reads it; without a target, with the model's own output.

    Raises:
        Refusal: the model has no attention, or a text passes a limit.
    """
    _require_attention(served)
    (text,) = served.within(source)
    if target is None:
        return served.run.translate([text])[0][0]
    _within_target(served, [target])
    return served.run.force([text], [target])[0]


def _require_attention(served: Served) -> None:
    if not served.run.model.attends:
        raise Refusal(
            422, f"{served.name} is a {served.run.config.model.kind}: it has no attention"
        )


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
