"""Multi30k, English to German, cut into pieces once for all: what every peer trains on.

    python benchmarks/peers/prepare.py MULTI30K FOLDER

One sentencepiece model (BPE, 8,000 symbols) of both languages' training text; the files hold
pieces with spaces between, so that no peer cuts text while it is measured.
"""

from __future__ import annotations

import argparse
import lzma
from pathlib import Path

import sentencepiece

SYMBOLS = 8000
LANGUAGES = ("en", "de")
SPLITS = {"train": "train", "val": "val", "test": "test_2016_flickr"}


def prepare(corpus: Path, folder: Path) -> Path:
    """Write train, val and test in both languages, and the vocabulary; return the folder."""
    if (folder / "vocabulary.txt").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    text = {
        (split, language): read(corpus / "tok" / f"{name}.lc.norm.tok.{language}.xz")
        for split, name in SPLITS.items()
        for language in LANGUAGES
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text["train", "en"] + text["train", "de"]),
        model_prefix=str(folder / "pieces"),
        model_type="bpe",
        vocab_size=SYMBOLS,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    cut = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    seen: dict[str, int] = {}
    for (split, language), lines in text.items():
        pieces = cut.encode(lines, out_type=str)
        (folder / f"{split}.{language}").write_text("".join(f"{' '.join(p)}\n" for p in pieces))
        for piece in (piece for line in pieces if split == "train" for piece in line):
            seen[piece] = seen.get(piece, 0) + 1
    ordered = sorted(seen, key=lambda piece: (-seen[piece], piece))
    (folder / "vocabulary.txt").write_text("".join(f"{p}\t{seen[p]}\n" for p in ordered))
    return folder


def read(path: Path) -> list[str]:
    """Return the lines of a compressed file."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def main() -> None:
    """Prepare, and say how much there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    folder = prepare(options.corpus, options.folder)
    for name in ("train.en", "train.de"):
        words = (folder / name).read_text().split()
        print(f"{name}: {len(words):,} pieces of {len(set(words)):,} kinds")


if __name__ == "__main__":
    main()
