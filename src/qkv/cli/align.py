"""`qkv align RUN`: which source word each target word came from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from qkv.cli.arguments import given
from qkv.cli.errors import UsageError
from qkv.cli.lines import STDIN, chunks, name_of, read_pairs_of_lines

if TYPE_CHECKING:
    from qkv.evaluate import Gold
    from qkv.explain import Alignment
    from qkv.run import Run

DESCRIPTION = """Align the two sides of each pair (a TSV: source, tab, target) by attention.

The model reads the given target (forced decoding). The end of the sentence has no link.

--attention says which of the model's attentions is read: `model` (what it gives itself), `mean` or
`max` of all layers and heads, a layer such as 1, a head as layer.head such as 1.0; each with
`+shift` to take, for a word, the row of the step that has read it. `auto` takes what does best on
the run's development data: it says which, and remembers it in the run's attention.json.

--reverse is a run of the other direction: its links are joined with those of the first.

pharaoh: `i-j` for each link, source-target, from 0. pairs: the same in the words themselves.
Line n belongs to pair n: a pair with an empty side gets an empty line, and standard error says so.
json: units with their character offsets, links, weights. matrix: a TSV with labels, a blank line
after each pair.

With --gold, the links are held against gold ones, and the alignment error rate (Och and Ney 2003),
precision and recall go to standard error, in percent.
"""


@dataclass(frozen=True)
class Arguments:
    """What `qkv align` takes."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    input: Path = STDIN
    """The pairs; - is standard input."""
    format: Literal["pharaoh", "pairs", "json", "matrix"] = "pharaoh"
    """What to write."""
    units: Literal["words", "tokens"] = "words"
    """Whitespace words of the original text, or the model's tokens."""
    method: Literal["argmax", "argmax-source", "mutual", "threshold"] = "argmax"
    """Links: each target's best source, each source's best target, both, or all heavy ones."""
    threshold: float = 0.5
    """With --method threshold: the least weight of a link."""
    renormalize: bool = False
    """Share out what went to the end of the sentence."""
    attention: str = "model"
    """model, mean, max, a layer, layer.head, each with +shift or without; or auto."""
    rank: Literal["auto", "agreement", "aer"] = "auto"
    """With --attention auto: rank by agreement of two directions, or by the error against gold
    links; auto: by the error where the development pairs have gold links."""
    dev: Path | None = None
    """With --attention auto: pairs to rank on in place of the run's development data, as lines of
    source, target, and links if there are gold ones."""
    reverse: Path | None = None
    """The run folder of a model of the other direction."""
    reverse_attention: str = ""
    """Which attention of --reverse is read; empty: as --attention says."""
    symmetrize: Literal[
        "intersection", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and"
    ] = "grow-diag"
    """With --reverse: how the links of the two directions are joined."""
    gold: Path | None = None
    """Gold links of words: lines of source, target, links (i-j sure; i?j, ipj possible), which
    replace the input; or of links alone, one for each line of the input."""


def run(words: list[str]) -> int:
    """Align."""
    arguments = tyro.cli(Arguments, prog="qkv align", description=DESCRIPTION, args=words)
    refuse_idle(words, arguments)
    from qkv.cli.readings import choose
    from qkv.run import load

    gold = read_gold_links(arguments)
    loaded = load(arguments.run)
    other = None if arguments.reverse is None else load(arguments.reverse)
    chosen = choose(arguments, loaded, other)
    predicted: list[set[tuple[int, int]]] = []
    empty: list[int] = []
    for chunk in chunks(pairs_of(arguments, gold), arguments.input):
        for number, pair in enumerate(chunk, start=len(predicted) + 1):
            empty += [] if all(side.strip() for side in pair) else [number]
        sources, targets = zip(*chunk, strict=True)
        found = one_way(arguments, loaded, chosen.attention, sources, targets)
        if other is not None:
            back = one_way(arguments, other, chosen.reverse or "", targets, sources)
            found = both_ways(found, back, arguments.symmetrize)
        for alignment in found:
            print(FORMATS[arguments.format](alignment))
            predicted.append({(link.source, link.target) for link in alignment.links})
        sys.stdout.flush()
    if empty:
        report_empty(empty)
    if gold is not None:
        report_error(predicted, gold, arguments)
    return 0


BELONGS = {
    "--threshold": ("method", "threshold"),
    "--rank": ("attention", "auto"),
    "--dev": ("attention", "auto"),
}


def refuse_idle(words: list[str], arguments: Arguments) -> None:
    """Refuse options that would do nothing.

    Raises:
        UsageError: there is one.
    """
    for option, (name, value) in BELONGS.items():
        if getattr(arguments, name) != value and given(words, option):
            raise UsageError(
                f"{option} belongs to --{name} {value}, but the {name} is "
                f"{getattr(arguments, name)}; leave it out, or give --{name} {value}"
            )
    for option in ("--symmetrize", "--reverse-attention"):
        if arguments.reverse is None and given(words, option):
            raise UsageError(f"{option} belongs to --reverse RUN; leave it out, or give that")
    if arguments.reverse is not None and arguments.reverse.resolve() == arguments.run.resolve():
        raise UsageError(
            f"--reverse {arguments.reverse} is the run itself; give a model of the other "
            "direction, trained on the same pairs with source and target exchanged"
        )
    if arguments.reverse is not None and arguments.units != "words":
        raise UsageError(
            "two models cut a text into tokens each in its own way, so --reverse joins links of "
            "words; leave out --units tokens"
        )


def one_way(
    arguments: Arguments, run: Run, attention: str, sources: Sequence[str], targets: Sequence[str]
) -> Iterator[Alignment]:
    """Align in the direction of a run."""
    from qkv.explain import Reading, align_tokens, align_words, look

    align = align_words if arguments.units == "words" else align_tokens
    reading = Reading(attention)
    for looked in look(run, sources, targets):
        yield align(
            reading.rows(looked),
            looked.source,
            looked.target,
            method=arguments.method,
            threshold=arguments.threshold,
            renormalize=arguments.renormalize,
        )


def both_ways(
    forward: Iterator[Alignment], backward: Iterator[Alignment], symmetrize: str
) -> Iterator[Alignment]:
    """Join the links of two directions."""
    from qkv.explain import joined

    for one, other in zip(forward, backward, strict=True):
        yield joined(one, other, symmetrize)


def read_gold_links(arguments: Arguments) -> list[Gold] | None:
    """Return the gold links that were asked for.

    Raises:
        UsageError: they are of words and tokens are aligned, or they bring their own input.
    """
    from qkv.evaluate import read_gold

    if arguments.gold is None:
        return None
    if arguments.units != "words":
        raise UsageError("--gold holds links of words; leave out --units tokens")
    gold = read_gold(str(arguments.gold))
    if gold[0].source is not None and arguments.input != STDIN:
        raise UsageError(f"{arguments.gold} holds the pairs as well; leave out --input")
    return gold


def pairs_of(arguments: Arguments, gold: list[Gold] | None) -> Iterator[tuple[str, str]]:
    """Give what is to be aligned: the input, or the pairs that come with the gold links."""
    if gold is None or gold[0].source is None:
        return read_pairs_of_lines(arguments.input)
    from qkv.evaluate import pair_texts

    return zip(*pair_texts(gold, str(arguments.gold)), strict=True)


def report_error(
    predicted: list[set[tuple[int, int]]], gold: list[Gold], arguments: Arguments
) -> None:
    """Say how far the links are from the gold ones.

    Raises:
        ValueError: there are not as many pairs as lines of gold links.
    """
    from qkv.evaluate import aer

    if len(predicted) != len(gold):
        raise ValueError(
            f"{len(predicted)} pairs in {name_of(arguments.input)}, but {len(gold)} lines of "
            f"gold links in {arguments.gold}; line i of one belongs to line i of the other"
        )
    found = aer(predicted, [one.sure for one in gold], [one.possible for one in gold])
    print(f"qkv align: {found}", file=sys.stderr)


def report_empty(lines: list[int]) -> None:
    """Say which pairs had nothing to link."""
    shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
    print(
        f"qkv align: pairs with an empty side have no links ({len(lines)} of them: {shown})",
        file=sys.stderr,
    )


def matrix(alignment: Alignment) -> str:
    """Return the weights as a TSV with both sides' labels."""
    head = ["", *(unit.text for unit in alignment.source)]
    rows = [
        [unit.text, *(f"{weight:.4f}" for weight in row)]
        for unit, row in zip(alignment.target, alignment.matrix.tolist(), strict=True)
    ]
    return "\n".join("\t".join(cells) for cells in [head, *rows]) + "\n"


FORMATS = {
    "pharaoh": lambda alignment: alignment.pharaoh(),
    "pairs": lambda alignment: alignment.pairs(),
    "json": lambda alignment: json.dumps(alignment.json(), ensure_ascii=False),
    "matrix": matrix,
}
