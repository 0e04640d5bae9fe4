"""Training and decoding against the programs that people use, each in an environment of its own.

    python benchmarks/against_peers.py training --data MULTI30K --recipe a=FILE --recipe c=FILE
    python benchmarks/against_peers.py decoding --data MULTI30K

Sizes: (a) a recurrent model of 12 M parameters, (b) and (c) Transformers of 9.4 M and 2.3 M (see
peers/opennmt.py). Tokens are real target tokens, without pads. Programs are started once and then
work in turn. A peer that is not there (peers/install.py) is left out, and the result says why.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from asking import Program, in_turn, rate
from limits import limits
from peers.install import FOLDER, missing, python
from peers.prepare import prepare
from report import machine, save

HERE = Path(__file__).parent
OURS = {"qkv": "float32", "qkv, bfloat16 products": "bfloat16"}
SHAPES = 0.05  # the share by which parameters may differ: vocabularies are not cut alike


def opennmt(what: str, size: str, said: argparse.Namespace) -> Program:
    """Start OpenNMT-py."""
    script = HERE / "peers/opennmt.py"
    words = [python("opennmt", said.folder), "-W", "ignore", script, what]
    words += [said.work / "data", said.work, size, str(said.threads)]
    return Program("OpenNMT-py", words, said.threads)


def ours(name: str, given: list, threads: int) -> Program:
    """Start qkv."""
    words = [sys.executable, HERE / "ours.py", *given, str(threads)]
    return Program(name, words, threads)


def training(said: argparse.Namespace, skipped: list[str]) -> list[dict]:
    """Target tokens a second, a size at a time; parameters are compared first."""
    rows = []
    why = missing("opennmt", said.folder)
    skipped += [why] * bool(why)
    for size, _, recipe in (one.partition("=") for one in said.recipe):
        programs = {} if why else {"OpenNMT-py": opennmt("train", size, said)}
        for name, precision in OURS.items():
            given = ["train", said.data, said.work, recipe, precision]
            programs[name] = ours(name, given, said.threads)
        try:
            same_size({name: one.about["parameters"] for name, one in programs.items()})
            for one in programs.values():
                one.ask(seconds=said.seconds)  # the first batches warm up
            found = in_turn(programs, [{"seconds": said.seconds}], said.rounds)
            for name, (answers,) in found.items():
                memory = programs[name].peak
                rows.append(row(f"training ({size})", name, answers, "tokens") | memory_of(memory))
        finally:
            for one in programs.values():
                one.close()
    skipped.append("JoeyNMT training: peers/install.py installs it; no driver for it yet")
    return rows


def same_size(parameters: dict[str, int]) -> None:
    """Refuse models that are not of one size."""
    low, high = min(parameters.values()), max(parameters.values())
    if high > (1 + SHAPES) * low:
        raise ValueError(f"not the same work, parameters differ: {parameters}")


def decoding(said: argparse.Namespace, skipped: list[str]) -> list[dict]:
    """Sentences a second; 15 tokens each, forced.

    The two peers share one checkpoint; ours has random weights and the same shapes.
    """
    whys = [missing(name, said.folder) for name in ("opennmt", "ctranslate2")]
    if any(whys):
        skipped += [why for why in whys if why]
        return []
    programs = {"OpenNMT-py": opennmt("translate", "b", said)}
    try:
        model = converted(said)
        for kind, inter in (("float32", 1), ("float32", 2), ("int8", 1), ("int8", 2)):
            name = f"CTranslate2 {kind}, {inter} at a time"
            threads = max(1, said.threads // inter)
            script = HERE / "peers/ctranslate.py"
            words = [python("ctranslate2", said.folder), script, model, kind]
            programs[name] = Program(name, [*words, str(inter), str(threads)], threads)
        for name, precision in OURS.items():
            for workers in (1, said.threads):
                way = f"{name}, {workers} at a time"
                programs[way] = ours(way, ["decode", precision, str(workers)], said.threads)
        text = (said.work / "data/test.en").read_text().splitlines()
        asked = [
            {"sentences": text[:count], "batch": batch, "beam": beam, "length": 15}
            for batch, beam, count in ((64, 1, 512), (64, 5, 128), (1, 1, 24))
        ]
        in_turn(programs, asked, 1)  # the first calls warm up
        found = in_turn(programs, asked, said.rounds)
        same_lengths(found)
        return [
            row(f"batch {one['batch']}, beam {one['beam']}", name, answers[index], "sentences")
            for index, one in enumerate(asked)
            for name, answers in found.items()
        ]
    finally:
        for one in programs.values():
            one.close()


def converted(said: argparse.Namespace) -> Path:
    """Give OpenNMT-py's checkpoint to CTranslate2."""
    model = said.work / "ctranslate-b"
    if not model.exists():
        tool = python("opennmt", said.folder).with_name("ct2-opennmt-py-converter")
        words = [tool, "--model_path", said.work / "opennmt-b_step_4.pt", "--output_dir", model]
        subprocess.run([*map(str, words), "--unsafe_deserialization"], check=True)
    return model


def same_lengths(found: dict[str, list[list[dict]]]) -> None:
    """Refuse translations that are not of the length that was asked for."""
    for name, requests in found.items():
        for answer in (one for answers in requests for one in answers):
            if (answer["shortest"], answer["longest"]) != (15, 15):
                raise ValueError(f"not the same work, {name} wrote {answer['first']}")


def row(task: str, way: str, answers: list[dict], unit: str) -> dict:
    """One row of a result."""
    return {"task": task, "way": way, "unit": f"{unit}/s", **rate(answers, unit)}


def memory_of(mebibytes: float) -> dict:
    """The whole process, not a difference."""
    return {"megabytes": mebibytes}


def main() -> None:
    """Measure, and leave a result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("training", "decoding"))
    parser.add_argument("--data", type=Path, required=True, help="the folder of Multi30k")
    parser.add_argument("--recipe", action="append", default=[], metavar="SIZE=FILE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the peers are")
    parser.add_argument("--work", type=Path, default=FOLDER / "work")
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    prepare(said.data, said.work / "data")
    skipped: list[str] = []
    rows = {"training": training, "decoding": decoding}[said.what](said, skipped)
    result = {
        "title": said.what.capitalize(),
        "command": f"python benchmarks/against_peers.py {said.what} --threads {said.threads}",
        "machine": machine(said.threads), "limits": limits(said.threads),
        "skipped": skipped, "rows": rows,
    }  # fmt: skip
    print(save(said.what, result))


if __name__ == "__main__":
    main()
