"""Training and decoding against the programs that people use, each in an environment of its own.

    python benchmarks/against_peers.py training --data MULTI30K [--sizes a c]
    python benchmarks/against_peers.py decoding --data MULTI30K [--ways qkv OpenNMT-py ...]

Sizes: (a) a recurrent model of 12 M parameters, (b) and (c) Transformers of 9.4 M and 2.3 M (see
peers/opennmt.py). Tokens are real target tokens, without pads. Programs are started once and then
work in turn. A peer that is not there (peers/install.py), or that ends, is left out, and the
result says why; what the others did stays.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from asking import Program, in_turn, rate
from limits import limits
from peers.install import FOLDER, missing, python
from peers.prepare import prepare
from report import RESULTS, result, save
from work import limit, of_search, of_training

HERE = Path(__file__).resolve().parent
RECIPES = {"a": "speed-rnnsearch", "c": "speed-transformer"}
OURS = {"qkv": "float32", "qkv, bfloat16 products": "bfloat16"}
OF_SEARCH = {**OURS, "qkv, int8 products": "int8"}
SHAPES = 0.05  # the share by which parameters may differ: vocabularies are not cut alike
LENGTH = 15
ASKED = ((64, 1, 512), (64, 5, 128), (1, 1, 24))  # batch, beam, sentences


@dataclass(frozen=True)
class Way:
    """How a program is started, and what it multiplies in."""

    words: list
    threads: int
    kind: str = "float32"


def peers(what: str, size: str, said: argparse.Namespace, skipped: list[str]) -> dict[str, Way]:
    """Return the peers that can do this; why others cannot goes to `skipped`."""
    found = {}
    for label, name, script in (
        ("OpenNMT-py", "opennmt", "opennmt.py"),
        ("JoeyNMT", "joeynmt", "joey.py"),
    ):
        if why := missing(name, said.folder):
            skipped.append(f"{label}: {why}")
            continue
        words = [python(name, said.folder), "-W", "ignore", HERE / "peers" / script, what]
        words += [said.work / "data", said.work, size, said.threads]
        found[label] = Way(words, said.threads)
    if size == "a":
        skipped.append("(a): transformers has no recurrent model")
    elif not importlib.util.find_spec("transformers"):
        skipped.append("MarianMT: transformers is absent; pip install 'qkv[hf]'")
    else:
        words = [sys.executable, HERE / "peers/marian.py", what, said.work / "data", size]
        found["MarianMT (transformers)"] = Way([*words, said.threads], said.threads)
    if why := missing("fairseq", said.folder):
        skipped.append(f"({size}): {why}")
    return found


def wanted(ways: Mapping[str, Way], said: argparse.Namespace) -> dict[str, Way]:
    """Return the ways that were asked for."""
    chosen = tuple(said.ways or [""])
    return {name: way for name, way in ways.items() if name.startswith(chosen)}


@contextmanager
def started(ways: Mapping[str, Way], skipped: list[str]) -> Iterator[dict[str, Program]]:
    """Start all; who cannot start is skipped. In the end they are all closed."""
    programs: dict[str, Program] = {}
    try:
        for name, way in ways.items():
            try:
                programs[name] = Program(name, way.words, way.threads)
            except RuntimeError as why:
                skipped.append(str(why))
        yield programs
    finally:
        for one in programs.values():
            one.close()


def training(said: argparse.Namespace, rates: dict, skipped: list[str]) -> list[dict]:
    """Target tokens a second; a size that fails does not lose the others."""
    rows = []
    for size in said.sizes:
        try:
            rows += training_of(size, said, rates, skipped)
        except (RuntimeError, ValueError) as why:
            skipped.append(f"({size}): {why}")
    return rows


def training_of(
    size: str, said: argparse.Namespace, rates: dict, skipped: list[str]
) -> list[dict]:
    """Compare parameters, and measure one size."""
    ways = peers("train", size, said, skipped)
    recipe = HERE.parent / "recipes" / f"{RECIPES[size]}.toml"
    for name, kind in OURS.items():
        words = [sys.executable, HERE / "ours.py", "train", said.data, said.work, recipe, kind]
        ways[name] = Way([*words, said.threads], said.threads, kind)
    with started(wanted(ways, said), skipped) as programs:
        same_size({name: one.about["parameters"] for name, one in programs.items()})
        asked = [{"seconds": said.seconds}]
        in_turn(programs, asked, 1, skipped)  # the first batches warm up
        found = in_turn(programs, asked, said.rounds, skipped)
        matrices = matrices_of(programs)
        lengths = [mean_length(said.work / f"data/train.{side}") for side in ("en", "de")]
        return [
            {"task": f"training ({size})", "way": name, "unit": "tokens/s"}
            | {**rate(answers, "tokens"), "megabytes": programs[name].peak}
            | limit(of_training(matrices, *lengths, ways[name].kind), rates)
            for name, (answers,) in found.items()
        ]


def same_size(parameters: dict[str, int]) -> None:
    """Refuse models that are not of one size."""
    if not parameters:
        raise ValueError("no program could be started")
    low, high = min(parameters.values()), max(parameters.values())
    if high > (1 + SHAPES) * low:
        raise ValueError(f"not the same work, parameters differ: {parameters}")


def matrices_of(programs: Mapping[str, Program]) -> dict[str, int]:
    """Return how many weights meet a token, as ours tells."""
    told = [one.about["matrices"] for one in programs.values() if "matrices" in one.about]
    if not told:
        raise ValueError("qkv is not among the programs: it tells how much work there is")
    return told[0]


def mean_length(path: Path) -> float:
    """Return the tokens of a line, with its end."""
    lines = path.read_text().splitlines()
    return sum(len(line.split()) + 1 for line in lines) / len(lines)


def decoding(said: argparse.Namespace, rates: dict, skipped: list[str]) -> list[dict]:
    """Sentences a second; every output has LENGTH tokens, forced.

    OpenNMT-py and CTranslate2 share one checkpoint; all others have random weights and the same
    shapes.
    """
    ways = peers("translate", "b", said, skipped)
    if "OpenNMT-py" in ways:
        ways |= ctranslate(said, skipped)
    for name, kind in OF_SEARCH.items():
        for workers in sorted({1, said.threads}):
            words = [sys.executable, HERE / "ours.py", "decode", kind, workers, said.threads]
            ways[f"{name}, {workers} at a time"] = Way(words, said.threads, kind)
    text = (said.work / "data/test.en").read_text().splitlines()
    with started(wanted(ways, said), skipped) as programs:
        asked = [
            {"sentences": text[: count // said.less], "batch": batch, "beam": beam}
            | {"length": LENGTH}
            for batch, beam, count in ASKED
        ]
        in_turn(programs, asked, 1, skipped)  # the first calls warm up
        found = in_turn(programs, asked, said.rounds, skipped)
        found = {name: one for name, one in found.items() if right_lengths(name, one, skipped)}
        matrices, source = matrices_of(programs), mean_length(said.work / "data/test.en")
        return [
            {"task": f"batch {one['batch']}, beam {one['beam']}", "way": name}
            | {"unit": "sentences/s", **rate(answers[index], "sentences")}
            | limit(of_search(matrices, source, one, ways[name].kind), rates)
            for index, one in enumerate(asked)
            for name, answers in found.items()
        ]


def ctranslate(said: argparse.Namespace, skipped: list[str]) -> dict[str, Way]:
    """Give OpenNMT-py's checkpoint to CTranslate2, and return how it is started."""
    if why := missing("ctranslate2", said.folder):
        skipped.append(f"CTranslate2: {why}")
        return {}
    model, script = said.work / "ctranslate-b", HERE / "peers/opennmt.py"
    if not model.exists():
        ours = python("opennmt", said.folder)
        words = [ours, "-W", "ignore", script, "checkpoint", said.work / "data", said.work, "b"]
        tool = [ours.with_name("ct2-opennmt-py-converter"), "--unsafe_deserialization"]
        tool += ["--model_path", said.work / "opennmt-b_step_4.pt", "--output_dir", model]
        for step in (words, tool):
            ran = subprocess.run([*map(str, step)], capture_output=True, text=True)
            if ran.returncode:
                skipped.append(f"CTranslate2: {ran.stderr.strip().splitlines()[-1]}")
                return {}
    found = {}
    for kind in ("float32", "int8"):
        for inter in sorted({1, said.threads}):
            threads = max(1, said.threads // inter)
            words = [python("ctranslate2", said.folder), HERE / "peers/ctranslate.py", model, kind]
            found[f"CTranslate2 {kind}, {inter} at a time"] = Way(
                [*words, inter, threads], threads, kind
            )
    return found


def right_lengths(name: str, requests: list[list[dict]], skipped: list[str]) -> bool:
    """Refuse translations that are not of the length that was asked for."""
    for answer in (one for answers in requests for one in answers):
        if (answer["shortest"], answer["longest"]) != (LENGTH, LENGTH):
            skipped.append(f"{name}: refused, not the same work: it wrote {answer['first']}")
            return False
    return True


def main() -> None:
    """Measure, and leave a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("training", "decoding"))
    parser.add_argument("--data", type=Path, required=True, help="the folder of Multi30k")
    parser.add_argument("--sizes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--ways", nargs="+", help="the beginnings of their names; all by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--less", type=int, default=1, help="decode so many times fewer sentences")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the peers are")
    parser.add_argument("--work", type=Path, default=FOLDER / "work")
    parser.add_argument("--results", type=Path, default=RESULTS)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    prepare(said.data, said.work / "data")
    rates, skipped = limits(), []
    rows = {"training": training, "decoding": decoding}[said.what](said, rates, skipped)
    for reason in skipped:
        print(reason, file=sys.stderr)
    about = {"skipped": list(dict.fromkeys(skipped)), "rows": rows}
    found = result(said.what.capitalize(), said.threads, rates, **about)
    print(save(said.results / f"{said.what}.json", found))


if __name__ == "__main__":
    main()
