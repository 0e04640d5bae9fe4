"""Alignment error on bible-grc-en: attention of trained models beside statistical aligners.

    python benchmarks/alignments.py --data BIBLE --runs RUNS [--links FOLDER] [--skip-peers]

RUNS has the run folders rnnsearch, luong, transformer and guided, Greek to English, as the recipes
align-bible-*.toml make them, and, for both directions, the same names with -reverse (--data.source
en --data.target grc). What is not there is left out, and said.

The peer is sil-thot (peers/install.py): FastAlign, HMM and Eflomal. All learn from the same text
without gold links, except `guided`, which has those of the training verses, and where `by AER` is
said, which picks a head by those of the development verses. The statistical aligners see the text
of the test verses too, as they always do; the networks do not. Writes alignments.json beside this
file.

--links: keep the peer's links there, and take what is there already.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from peers.install import FOLDER, missing, python
from report import machine

import qkv
from qkv.config import DataConfig
from qkv.data import Pairs, load_pairs
from qkv.evaluate import aer
from qkv.explain import SYMMETRIZERS, align, best_reading

HERE = Path(__file__).parent
MODELS = {
    "rnnsearch": "RNNsearch",
    "luong": "Luong, local-p",
    "transformer": "Transformer",
    "guided": "Transformer, guided",
}
HEAVY = "threshold 0.4"  # which on the development verses is better than argmax
PEERS = ("FastAlign", "HMM", "Eflomal")
Links = Sequence[set[tuple[int, int]]]


class Table:
    """Rows of links against the gold links."""

    def __init__(self, gold: Pairs) -> None:
        self.gold, self.rows = gold, []

    def add(self, aligner: str, read: str, direction: str, links: Links) -> None:
        """Count the links of an aligner."""
        wanted = [pair.links or frozenset() for pair in self.gold]
        found = aer(links, wanted, wanted)
        row = {"aligner": aligner, "read": read, "direction": direction, **found.json()}
        self.rows.append(row)
        numbers = (100 * row[name] for name in ("aer", "precision", "recall"))
        print(
            f"| {aligner} | {read} | {direction} |", *(f"{n:.1f} |" for n in numbers), flush=True
        )

    def add_both(self, aligner: str, read: str, forward: Links, backward: Links) -> None:
        """Count the links of two directions, and these joined in each way."""
        self.add(aligner, read, "en-grc", backward)
        for name, join in SYMMETRIZERS.items():
            joined = []
            for pair, one, other in zip(self.gold, forward, backward, strict=True):
                shape = (len(pair.target.split()), len(pair.source.split()))
                both = join(mask(one, shape), mask(other, shape)).nonzero().tolist()
                joined.append({(j, i) for i, j in both})
            self.add(aligner, read, name, joined)


def mask(links: set[tuple[int, int]], shape: tuple[int, int]) -> torch.Tensor:
    """Return links as a matrix, [target, source]."""
    found = torch.zeros(shape, dtype=torch.bool)
    for j, i in links:
        found[i, j] = True
    return found


def readings(name: str, run: qkv.Run, dev: Pairs) -> dict[str, Callable[[], str]]:
    """Return which attentions of a model are read, by what they are called."""
    if name == "guided":
        guided = f"{run.config.model.alignment}+shift"
        return {"the guided head": lambda: guided, f"the guided head, {HEAVY}": lambda: guided}
    if name != "transformer":
        return {"attention": lambda: "model"}
    return {
        "mean": lambda: "mean",
        "max": lambda: "max",
        "last layer": lambda: "model",
        "auto, by agreement": lambda: best_reading(run, dev.pairs, by="agreement").attention,
        "auto, by AER": lambda: best_reading(run, dev.pairs, by="aer").attention,
    }


def attentions(table: Table, runs: Path, data: str, skipped: list[str]) -> None:
    """Align by every trained model that is there."""
    test = {way: pairs_of(data, "test", way) for way in ("grc", "en")}
    dev = {way: pairs_of(data, "dev", way) for way in ("grc", "en")}
    for name, title in MODELS.items():
        there, back = (folder(runs / f"{name}{end}", skipped) for end in ("", "-reverse"))
        if there is None:
            continue
        for called, choose in readings(name, there, dev["grc"]).items():
            read = choose()
            shown = f"{called} ({read})" if called.startswith(("auto", "the")) else called
            method = HEAVY if called.endswith(HEAVY) else "argmax"
            forward = links_of(there, test["grc"], read, method)
            table.add(title, shown, "grc-en", forward)
            if back is not None:
                other = readings(name, back, dev["en"])[called]()
                turned = links_of(back, test["en"], other, method)
                backward = [{(j, i) for i, j in links} for links in turned]
                table.add_both(title, f"{called} ({read}, {other})", forward, backward)


def folder(path: Path, skipped: list[str]) -> qkv.Run | None:
    """Load a run, or say why not."""
    try:
        return qkv.load(path)
    except ValueError as error:
        skipped.append(f"{path.name}: {str(error).replace(str(path), path.name)}")
        return None


def pairs_of(data: str, split: str, source: str) -> Pairs:
    """Return verses with Greek or English as the source."""
    target = {"grc": "en", "en": "grc"}[source]
    config = DataConfig(corpus="bible-grc-en", directory=data, source=source, target=target)
    return load_pairs(config, split)


def links_of(run: qkv.Run, pairs: Pairs, read: str, method: str) -> Links:
    """Align by one model."""
    found = align(run, pairs.sources, pairs.targets, attention=read, method=method)
    return [{(link.source, link.target) for link in one.links} for one in found]


def statistical(table: Table, said: argparse.Namespace, skipped: list[str]) -> None:
    """Align by the peer's models."""
    kept = said.links or said.runs
    kept.mkdir(parents=True, exist_ok=True)
    files = [str(next(Path(said.data).glob(f"{split}.tsv*"))) for split in ("train", "test")]
    for name in PEERS:
        found = []
        for direction in ("forward", "backward"):
            file = kept / f"{name}-{direction}.json"
            if not file.exists():
                if why := missing("thot", said.folder):
                    skipped.append(f"{name}: {why}")
                    break
                words = [python("thot", said.folder), HERE / "peers/statistical.py", name]
                ran = subprocess.run(
                    [*map(str, words), *files, direction], capture_output=True, check=True
                )
                file.write_bytes(ran.stdout)
            links = json.loads(file.read_text())["links"]
            found.append([{(i, j) for i, j in one} for one in links])
        if len(found) == 2:
            table.add(name, "sil-thot", "grc-en", found[0])
            table.add_both(name, "sil-thot", *found)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--links", type=Path)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--skip-peers", action="store_true")
    said = parser.parse_args()
    skipped: list[str] = []
    table = Table(pairs_of(said.data, "test", "grc"))
    print("| aligner | attention | direction | AER | precision | recall |")
    print("| --- | --- | --- | --- | --- | --- |")
    attentions(table, said.runs, said.data, skipped)
    if not said.skip_peers:
        statistical(table, said, skipped)
    for line in skipped:
        print(f"left out: {line}", file=sys.stderr)
    about = {
        "title": "Alignment error on bible-grc-en, 350 test verses",
        "command": "python benchmarks/alignments.py --data BIBLE --runs RUNS",
        "machine": machine(torch.get_num_threads()),
        "skipped": skipped,
    }
    result = HERE / "alignments.json"
    result.write_text(json.dumps(about | {"rows": table.rows}, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()
