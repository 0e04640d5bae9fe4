"""Alignment error on gold links: attention of trained models beside statistical aligners.

    python benchmarks/alignments.py grc-en --gold BIBLE --runs RUNS
    python benchmarks/alignments.py en-fr --gold GOLD --text TEXT --runs RUNS

grc-en: the verses of bible-grc-en. RUNS has the run folders rnnsearch, luong, transformer and
guided as the recipes align-bible-*.toml make them, and for the other direction the same names
with -reverse. en-fr: the Hansards of alignment-gold; TEXT is what alignment_text.py wrote, and the
recipes are align-enfr-*.toml. What is not there is left out, and said.

The peer is sil-thot (peers/install.py): FastAlign, HMM and Eflomal. All learn from the same text
without gold links, except `guided` of grc-en, which has those of the training verses, and where
`by AER` is said, which picks a head by those of the development verses. The statistical aligners
see the text of the test too, as they always do; the networks do not. The rows go into
alignments.json beside this file.

--links: keep the peer's links there, and take what is there already.
--only: count only these again, and keep the other rows: rnnsearch, ..., FastAlign, ...
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from peers.install import FOLDER, missing, python
from report import machine

import qkv
from qkv.config import DataConfig
from qkv.data import Pair, load_pairs
from qkv.evaluate import aer
from qkv.explain import SYMMETRIZERS, Looked, Reading, align_words, best_reading, look

HERE = Path(__file__).parent
RESULT = HERE / "alignments.json"
MODELS = {
    "rnnsearch": "RNNsearch",
    "luong": "Luong, local-p",
    "transformer": "Transformer",
    "guided": "Transformer, guided",
}
PEERS = ("FastAlign", "HMM", "Eflomal")
DIAGONAL = "diagonal"
ALL = (DIAGONAL, *MODELS, *PEERS)
HEAVY = 0.4  # links of at least this weight: on the development verses better than argmax
SHOWN = 500  # development pairs that a reading is ranked on
Links = Sequence[set[tuple[int, int]]]


class Corpus(NamedTuple):
    """Pairs to learn from, to rank on and to be measured on."""

    title: str
    source: str
    target: str
    train: Sequence[Pair]
    dev: Sequence[Pair]
    test: Sequence[Pair]


class Choice(NamedTuple):
    """What is read of a model and of that of the other direction; the least weight of a link."""

    called: str
    there: str
    back: str
    threshold: float = 0.0


class Table:
    """Rows of links against the gold links."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus, self.rows = corpus, []

    def add(self, aligner: str, read: str, direction: str, links: Links) -> None:
        """Count the links of an aligner."""
        sure, possible = ([getattr(pair, kind) for pair in self.corpus.test] for kind in KINDS)
        found = aer(links, sure, possible)
        row = {"aligner": aligner, "read": read, "direction": direction, **found.json()}
        self.rows.append(row)
        numbers = (100 * row[name] for name in ("aer", "precision", "recall"))
        print(
            f"| {aligner} | {read} | {direction} |", *(f"{n:.1f} |" for n in numbers), flush=True
        )

    def add_both(self, aligner: str, read: Sequence[str], forward: Links, back: Links) -> None:
        """Count the links of two directions, and these joined in each way."""
        source, target = self.corpus.source, self.corpus.target
        self.add(aligner, read[0], f"{source}-{target}", forward)
        self.add(aligner, read[1], f"{target}-{source}", back)
        for name in SYMMETRIZERS:
            self.add(aligner, read[2], name, joined(self.corpus.test, forward, back, name))


def joined(pairs: Sequence[Pair], forward: Links, back: Links, symmetrize: str) -> Links:
    """Join the links of two directions, of which both have the source first."""
    found = []
    for pair, one, other in zip(pairs, forward, back, strict=True):
        shape = (len(pair.target.split()), len(pair.source.split()))
        both = SYMMETRIZERS[symmetrize](mask(one, shape), mask(other, shape))
        found.append({(j, i) for i, j in both.nonzero().tolist()})
    return found


KINDS = ("sure", "links")


def mask(links: set[tuple[int, int]], shape: tuple[int, int]) -> torch.Tensor:
    """Return links as a matrix, [target, source]."""
    found = torch.zeros(shape, dtype=torch.bool)
    for j, i in links:
        found[i, j] = True
    return found


def grc_en(said: argparse.Namespace) -> Corpus:
    """Greek and English verses, all of them linked by hand."""
    config = DataConfig(corpus="bible-grc-en", directory=said.gold, source="grc", target="en")
    splits = (load_pairs(config, split) for split in ("train", "dev", "test"))
    return Corpus("bible-grc-en, 350 test verses", "grc", "en", *splits)


def en_fr(said: argparse.Namespace) -> Corpus:
    """Text of Tatoeba and the Python documentation, and the gold links of the Hansards."""
    gold = DataConfig(corpus="alignment-gold", directory=said.gold, source="en", target="fr")
    files = {
        split: tuple(f"{said.text}/{split}.{name}" for name in ("en", "fr"))
        for split in ("train", "dev")
    }
    splits = (load_pairs(DataConfig(**files), split) for split in files)
    title = "the Hansards of alignment-gold, 447 sentences"
    return Corpus(title, "en", "fr", *splits, load_pairs(gold, "test"))


CORPORA = {"grc-en": grc_en, "en-fr": en_fr}


def choices(
    name: str, there: qkv.Run, back: qkv.Run | None, dev: Sequence[Pair]
) -> Iterator[Choice]:
    """Return which attentions of a model are read, by what they are called."""
    if name == "guided":
        guided = f"{there.config.model.alignment}+shift"
        yield Choice("the guided head", guided, guided)
        yield Choice(f"the guided head, links of {HEAVY} or more", guided, guided, HEAVY)
        return
    if name != "transformer":
        yield Choice("its own", "model", "model")
        return
    for called, read in (("mean", "mean"), ("max", "max"), ("last layer", "model")):
        yield Choice(called, read, read)
    turned = [pair.turned() for pair in dev]
    for by in ("agreement", "aer"):
        if by == "aer" and any(pair.links is None for pair in dev):
            continue
        best = best_reading(there, dev, by=by).attention
        other = "" if back is None else best_reading(back, turned, by=by).attention
        with_itself = ", with itself" if by == "agreement" else " on dev"
        yield Choice(f"auto, by {by}{with_itself}", best, other)
    if back is not None:
        both = best_reading(there, dev, by="agreement", reverse=back)
        yield Choice("auto, by agreement, of two models", both.attention, both.reverse or "")


def attentions(table: Table, name: str, runs: Path, skipped: list[str]) -> None:
    """Align by a trained model, and by that of the other direction if it is there."""
    test = table.corpus.test
    there, back = (folder(runs / f"{name}{end}", skipped) for end in ("", "-reverse"))
    if there is None:
        return
    forward = looked(there, test)
    backward = None if back is None else looked(back, [pair.turned() for pair in test])
    for choice in choices(name, there, back, table.corpus.dev[:SHOWN]):
        links = links_of(forward, choice.there, choice.threshold)
        read = choice.called
        plain = {choice.there, choice.back} <= {read, "model"}
        named = [
            read if plain else f"{read} ({which})"
            for which in (choice.there, choice.back, f"{choice.there}, {choice.back}")
        ]
        if backward is None:
            direction = f"{table.corpus.source}-{table.corpus.target}"
            table.add(MODELS[name], named[0], direction, links)
            continue
        turned = links_of(backward, choice.back, choice.threshold)
        table.add_both(
            MODELS[name], named, links, [{(j, i) for i, j in links} for links in turned]
        )


def folder(path: Path, skipped: list[str]) -> qkv.Run | None:
    """Load a run, or say why not."""
    try:
        return qkv.load(path)
    except ValueError as error:
        skipped.append(f"{path.name}: {str(error).replace(str(path), path.name)}")
        return None


def looked(run: qkv.Run, pairs: Sequence[Pair]) -> list[Looked]:
    """Read the pairs once; every attention is kept."""
    return list(look(run, [pair.source for pair in pairs], [pair.target for pair in pairs]))


def links_of(seen: Sequence[Looked], attention: str, threshold: float) -> Links:
    """Link words by an attention: the largest of a row, or all of at least a threshold."""
    reading, method = Reading(attention), "threshold" if threshold else "argmax"
    found = (
        align_words(
            reading.rows(one), one.source, one.target, method=method, threshold=threshold or 0.5
        )
        for one in seen
    )
    return [{(link.source, link.target) for link in one.links} for one in found]


def diagonal(table: Table) -> None:
    """Link word i of n to word i m / n of m, which asks for no training: what others must beat."""
    for turned in (False, True):
        found = []
        for pair in table.corpus.test:
            sides = len(pair.source.split()), len(pair.target.split())
            m, n = reversed(sides) if turned else sides
            links = {((2 * i + 1) * m // (2 * n), i) for i in range(n)}
            found.append({(i, j) for j, i in links} if turned else links)
        names = (table.corpus.source, table.corpus.target)
        table.add(DIAGONAL, "", "-".join(reversed(names) if turned else names), found)


def statistical(table: Table, name: str, said: argparse.Namespace, skipped: list[str]) -> None:
    """Align by one of the peer's models."""
    kept = said.links or said.runs
    kept.mkdir(parents=True, exist_ok=True)
    files = [kept / f"{split}.tsv" for split in ("train", "test")]
    for file, pairs in zip(files, (table.corpus.train, table.corpus.test), strict=True):
        lines = (f"{pair.source}\t{pair.target}\n" for pair in pairs)
        text = "".join(lines)
        file.write_text(text.lower() if said.corpus == "en-fr" else text, encoding="utf-8")
    try:
        table.add_both(name, ["sil-thot"] * 3, *both_ways(name, files, kept, said.folder))
    except ValueError as error:
        skipped.append(f"{name}: {error}")


def both_ways(name: str, files: Sequence[Path], kept: Path, peers: Path) -> list[Links]:
    """Return the links that a statistical aligner finds in each direction, source first.

    files: the text that it learns from, and that of which the links are wanted (see
        peers/statistical.py). kept: where they are kept, or taken from.

    Raises:
        ValueError: the peer is not there and cannot be had.
    """
    found = []
    for direction in ("forward", "backward"):
        file = kept / f"{name}-{direction}.json"
        if not file.exists():
            if why := missing("thot", peers):
                raise ValueError(why)
            words = [python("thot", peers), HERE / "peers/statistical.py", name]
            ran = subprocess.run(
                [*map(str, [*words, *files]), direction], capture_output=True, check=True
            )
            file.write_bytes(ran.stdout)
        links = json.loads(file.read_text())["links"]
        found.append([{(i, j) for i, j in one} for one in links])
    return found


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--gold", required=True)
    parser.add_argument("--text")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--links", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    said = parser.parse_args()
    skipped: list[str] = []
    table = Table(CORPORA[said.corpus](said))
    print("| aligner | attention | direction | AER | precision | recall |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in said.only:
        if name == DIAGONAL:
            diagonal(table)
        elif name in MODELS:
            attentions(table, name, said.runs, skipped)
        else:
            statistical(table, name, said, skipped)
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    write(said, table, skipped)


def write(said: argparse.Namespace, table: Table, skipped: Sequence[str]) -> None:
    """Put the rows among those that were counted before."""
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    order = [MODELS.get(name, name) for name in ALL]
    again = {MODELS.get(name, name) for name in said.only}
    rows = [
        row for row in known.get(said.corpus, {}).get("rows", []) if row["aligner"] not in again
    ]
    rows = sorted(rows + table.rows, key=lambda row: order.index(row["aligner"]))
    text = " --text TEXT" if said.text else ""
    known[said.corpus] = {
        "title": f"Alignment error on {table.corpus.title}",
        "command": f"python benchmarks/alignments.py {said.corpus} --gold GOLD{text} --runs RUNS",
        "machine": machine(torch.get_num_threads()),
        "skipped": list(skipped),
        "rows": rows,
    }
    RESULT.write_text(json.dumps(known, indent=1) + "\n")
    print(RESULT)


if __name__ == "__main__":
    main()
