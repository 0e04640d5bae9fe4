"""From what the models found to what clients get."""

from __future__ import annotations

from qkv.explain import align_tokens, align_words
from qkv.explain.every_head import every_head
from qkv.figures import END, source_labels
from qkv.run import Run
from qkv.search.translate import Translation
from qkv.serve.refusal import Refusal
from qkv.serve.schemas import (
    AlignAnswer,
    Aligned,
    AlignRequest,
    AttentionAnswer,
    AttentionName,
    AttentionRequest,
    Link,
    Output,
    Token,
    Translated,
)
from qkv.serve.served import Served
from qkv.text import tokens as text_tokens


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
    _require_attention(served)
    run = served.run
    (text,) = served.within(asked.source)
    if asked.target is None:
        ids = run.translate([text])[0][0].ids
    else:
        _within_target(served, [asked.target])
        ids = tuple(run.target.ids(asked.target))
    source = run.source.encode(text)
    found = every_head(run.model, source.ids, ids)
    names = [AttentionName(name=name, heads=len(heads)) for name, heads in found.items()]
    if asked.name is None:
        return AttentionAnswer(model=served.name, attentions=names)
    if asked.name not in found:
        raise Refusal(422, f"no attention {asked.name!r}; there are: {', '.join(found)}")
    heads = found[asked.name]
    if asked.head is not None and asked.head >= len(heads):
        raise Refusal(422, f"head is {asked.head}; {asked.name} has {len(heads)}, from 0")
    sides = [*source_labels(run, source), END], run.target.symbols(ids)
    rows, columns = _labels(asked.name, *sides)
    weights = heads.mean(0) if asked.head is None else heads[asked.head]
    return AttentionAnswer(
        model=served.name,
        attentions=names,
        name=asked.name,
        head=asked.head,
        rows=rows,
        columns=columns,
        weights=weights.tolist(),
    )


def _labels(name: str, source: list[str], target: list[str]) -> tuple[list[str], list[str]]:
    """Rows and columns: what asks is a word to come, what is read by itself was read before."""
    if name.startswith("encoder"):
        return source, source
    read = ["<s>", *target]
    return (read, read) if name.endswith("self_attention") else ([*target, END], source)


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
