"""Unknown words of an output, replaced."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from qkv.cli.lines import read_pairs_of_lines
from qkv.run import Run
from qkv.search import replace_unknown
from qkv.search.translate import Translation
from qkv.text import words_of


@cache
def read_dictionary(path: Path) -> dict[str, str]:
    """Return what to write for a source word, from a TSV that is read once."""
    return dict(read_pairs_of_lines(path))


def replace(run: Run, output: Translation, dictionary: Path | None) -> tuple[str, list[Any]]:
    """Return the text without <unk>, and a record of each word that was put in."""
    entries = read_dictionary(dictionary) if dictionary else None
    pieces = run.target.vocabulary.spell(output.ids)
    # An unknown character stands for a character; anything longer, for a word.
    whole_words = run.config.text.target.kind != "characters"
    replaced = replace_unknown(
        output.ids,
        pieces,
        output.attention,
        output.source,
        entries,
        units=words_of(output.source.text) if whole_words else None,
    )
    trace = [entry._asdict() for entry in replaced.trace]
    return run.target.tokenizer.join(list(replaced.pieces)), trace
