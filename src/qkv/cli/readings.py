"""Which attention `qkv align` reads: as the user says, or what does best on development pairs."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkv.data import Pair, read_pairs
from qkv.data.readers import read_lines
from qkv.evaluate import pair_texts, read_gold
from qkv.explain import Ranked, dev_pairs, rank
from qkv.explain.ranking import criterion
from qkv.figures import require_attention
from qkv.folder import RunFolder, write_json
from qkv.run import Run

if TYPE_CHECKING:
    from qkv.cli.align import Arguments

AUTO = "auto"


def choose(asked: Arguments, run: Run, other: Run | None) -> Ranked:
    """Return which attention is read of the run, and of that of the other direction.

    What `auto` finds is said on standard error, and kept in the run folder for the next time.

    Raises:
        ValueError: a model without attention; with auto, no development pairs, or ones that the
            criterion cannot use.
    """
    for one in (run, other):
        if one is not None:
            require_attention(one)
    if AUTO not in (asked.attention, asked.reverse_attention):
        return Ranked(0.0, asked.attention, asked.reverse_attention or asked.attention)
    question = {
        "weights": _digest(asked.run),
        "reverse": None if asked.reverse is None else _digest(asked.reverse),
        "dev": None if asked.dev is None else hashlib.sha256(asked.dev.read_bytes()).hexdigest(),
        "rank": asked.rank,
    }
    file = RunFolder(asked.run).attention
    known = _read(file, question)
    answer = known or _answer(asked, run, other)
    kept = f"read from {file}" if known else _write(file, question | answer)
    of_reverse = f" and {answer['reverse_attention']} of {asked.reverse}" if other else ""
    print(
        f"qkv align: attention {answer['attention']}{of_reverse}, the best of "
        f"{answer['readings']} by {answer['by']} ({answer['value']:.4f} on {answer['pairs']} "
        f"development pairs); {kept}",
        file=sys.stderr,
    )
    return Ranked(answer["value"], answer["attention"], answer["reverse_attention"])


def _answer(asked: Arguments, run: Run, other: Run | None) -> dict[str, Any]:
    pairs = dev_pairs(run.config) if asked.dev is None else _pairs_in(str(asked.dev))
    by = criterion(pairs) if asked.rank == "auto" else asked.rank
    ranked = rank(run, pairs, by=by, reverse=other)
    return {
        "attention": ranked[0].attention,
        "reverse_attention": ranked[0].reverse,
        "by": by,
        "value": ranked[0].value,
        "pairs": len(pairs),
        "readings": len(ranked),
    }


def _pairs_in(file: str) -> Sequence[Pair]:
    """Read lines of source and target, with gold links or without."""
    if next(read_lines(file), "").count("\t") == 1:
        return read_pairs((file,)).pairs
    gold = read_gold(file)
    return [
        Pair(source, target, one.line, links=one.possible, sure=one.sure)
        for source, target, one in zip(*pair_texts(gold, file), gold, strict=True)
    ]


def _digest(run: Path) -> str:
    return hashlib.sha256(RunFolder(run).weights.read_bytes()).hexdigest()


def _read(file: Path, question: dict[str, Any]) -> dict[str, Any] | None:
    """Return what was answered to the same question before."""
    if not file.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if question.items() <= found.items() else None


def _write(file: Path, tree: dict[str, Any]) -> str:
    try:
        write_json(file, tree)
    except OSError as error:
        return f"not kept: {file} cannot be written ({error.strerror})"
    return f"kept in {file}"
