"""`qkv align RUN`: which source word each target word came from."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
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

DESCRIPTION = """Align the two sides of each pair (a TSV: source, tab, target) by attention.

The model reads the given target (forced decoding). The end of the sentence has no link.

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
    gold: Path | None = None
    """Gold links of words: lines of source, target, links (i-j sure; i?j, ipj possible), which
    replace the input; or of links alone, one for each line of the input."""


def run(words: list[str]) -> int:
    """Align."""
    arguments = tyro.cli(Arguments, prog="qkv align", description=DESCRIPTION, args=words)
    from qkv.explain import align_tokens, align_words
    from qkv.figures import require_attention
    from qkv.run import load

    if arguments.method != "threshold" and given(words, "--threshold"):
        raise UsageError(
            f"--threshold belongs to --method threshold, but the method is {arguments.method}; "
            "leave it out, or give --method threshold"
        )
    gold = read_gold_links(arguments)
    loaded = load(arguments.run)
    require_attention(loaded)
    align = align_words if arguments.units == "words" else align_tokens
    predicted: list[set[tuple[int, int]]] = []
    empty: list[int] = []
    for chunk in chunks(pairs_of(arguments, gold), arguments.input):
        sources, targets = zip(*chunk, strict=True)
        for number, pair in enumerate(chunk, start=len(predicted) + 1):
            empty += [] if all(side.strip() for side in pair) else [number]
        for found in loaded.force(sources, targets):
            assert found.attention is not None
            alignment = align(
                found.attention,
                found.source,
                found.target,
                method=arguments.method,
                threshold=arguments.threshold,
                renormalize=arguments.renormalize,
            )
            print(FORMATS[arguments.format](alignment))
            predicted.append({(link.source, link.target) for link in alignment.links})
        sys.stdout.flush()
    if empty:
        report_empty(empty)
    if gold is not None:
        report_error(predicted, gold, arguments)
    return 0


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
