"""Peers into environments of their own, so that none can change the project's or another's.

    python benchmarks/peers/install.py [--folder ~/.cache/qkv/peers] [NAME ...]

A peer is pinned, and so is the PyTorch under it: the same that the project has. OpenNMT-py 3.5.1
asks for an older one, so it comes without its dependencies and what it imports is named here. A
peer that cannot be installed is told with pip's last line, and whoever measures goes on without.

A peer that is an operator is measured in the process that measures ours, on the project's PyTorch:
it is installed without one, and `beside` lets that process import it.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

FOLDER = Path.home() / ".cache/qkv/peers"
TORCH = "torch==2.13.0"


@dataclasses.dataclass(frozen=True)
class Peer:
    """What pip is given, in two goes: with dependencies, and then without."""

    needs: tuple[str, ...]
    alone: tuple[str, ...] = ()
    imports: str = ""


PEERS = {
    "opennmt": Peer(
        needs=(
            TORCH, "setuptools<81", "numpy<3", "configargparse", "ctranslate2==4.8.5",
            "tensorboard", "flask", "waitress", "pyonmttok", "pyyaml", "sacrebleu", "rapidfuzz",
            "pyahocorasick", "six", "sentencepiece", "spacy", "fasttext-wheel",
        ),
        alone=("OpenNMT-py==3.5.1",),
        imports="onmt.train_single, onmt.translate",
    ),
    "joeynmt": Peer(
        needs=(
            TORCH, "numpy<3", "tensorboard", "pyyaml", "tqdm", "packaging", "importlib_metadata",
            "matplotlib", "sacrebleu", "sentencepiece", "subword-nmt",
        ),
        alone=("joeynmt==2.3.0",),
        imports="joeynmt.training, joeynmt.prediction",
    ),
    "fairseq": Peer(
        needs=(
            TORCH, "setuptools<81", "numpy<3", "cffi", "cython", "regex", "bitarray", "tqdm",
            "sacrebleu==2.6.0", "packaging",
        ),
        alone=("fairseq==0.12.2", "hydra-core<1.1", "omegaconf<2.1",
               "antlr4-python3-runtime==4.8", "pyyaml"),
        imports="fairseq.models",
    ),
    "ctranslate2": Peer(
        needs=("ctranslate2==4.8.5", "sentencepiece", "setuptools<81"), imports="ctranslate2"
    ),
    "local-attention": Peer(
        needs=("einops==0.8.2",),
        alone=("local-attention==1.11.2", "hyper-connections==0.4.11",
               "torch-einops-utils==0.2.0"),
        imports="einops",
    ),
    "thot": Peer(needs=("sil-thot==3.5.3", "numpy<3"), imports="thot.alignment"),
}  # fmt: skip


def python(name: str, folder: Path = FOLDER) -> Path:
    """Return the interpreter that has this peer."""
    return folder / name / "bin/python"


def missing(name: str, folder: Path = FOLDER) -> str:
    """Install a peer where it is not; return why it cannot be had, or nothing.

    One that was installed and cannot be imported is not tried again: its reason is kept.
    """
    peer, done = PEERS[name], folder / name / f".{version(name)}"
    if done.exists():
        return done.read_text()
    pip = [str(python(name, folder)), "-m", "pip", "--quiet", "install"]
    steps = [[sys.executable, "-m", "venv", "--clear", str(folder / name)], [*pip, *peer.needs]]
    if peer.alone:
        steps.append([*pip, "--no-deps", *peer.alone])
    steps.append([str(python(name, folder)), "-W", "ignore", "-c", f"import {peer.imports}"])
    for step in steps:
        ran = subprocess.run(step, capture_output=True, text=True)
        if ran.returncode:
            lines = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
            why = f"{name}: {lines[-1] if lines else 'no message'}"
            if step is steps[-1]:
                done.write_text(why)
            return why
    done.touch()
    return ""


def beside(name: str, folder: Path = FOLDER, *, install: bool = True) -> str:
    """Let this process import a peer that is an operator; return why it cannot, or nothing.

    Its environment stands behind the project's own packages, so that none of these changes.

    install: where it is not there yet.
    """
    module = name.replace("-", "_")
    if importlib.util.find_spec(module):
        return ""
    if not install and not (folder / name / f".{version(name)}").exists():
        return f"{name}: not installed (python benchmarks/peers/install.py {name})"
    if why := missing(name, folder):
        return why
    sys.path += map(str, (folder / name).glob("lib/python*/site-packages"))
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{name}: {error}"
    return ""


def version(name: str) -> str:
    """Return a word that changes with what is to be installed."""
    return hashlib.sha256(repr(PEERS[name]).encode()).hexdigest()[:12]


def main() -> None:
    """Install the peers that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEERS)}")
    options = parser.parse_args()
    for name in options.names or PEERS:
        print(missing(name, options.folder) or f"{name}: ready in {options.folder / name}")


if __name__ == "__main__":
    main()
