"""`qkv align RUN`: which source word each target word came from."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from qkv.cli.lines import STDIN, chunks, read_pairs_of_lines

if TYPE_CHECKING:
    from qkv.explain import Alignment

DESCRIPTION = """Align the two sides of each pair (a TSV: source, tab, target) by attention.

The model reads the given target (forced decoding). The end of the sentence has no link.

pharaoh: `i-j` for each link, source-target, from 0. pairs: the same in the words themselves.
json: units with their character offsets, links, weights. matrix: a TSV with labels, a blank line
after each pair.
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


def run(words: list[str]) -> int:
    """Align."""
    arguments = tyro.cli(Arguments, prog="qkv align", description=DESCRIPTION, args=words)
    from qkv.cli.figures import require_attention
    from qkv.explain import align_tokens, align_words
    from qkv.run import load

    loaded = load(arguments.run)
    require_attention(loaded)
    align = align_words if arguments.units == "words" else align_tokens
    for chunk in chunks(read_pairs_of_lines(arguments.input), arguments.input):
        sources, targets = zip(*chunk, strict=True)
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
        sys.stdout.flush()
    return 0


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
