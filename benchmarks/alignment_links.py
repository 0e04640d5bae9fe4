"""Word links of the English-French training text by a statistical aligner, for training.guided.

    python benchmarks/alignment_links.py TEXT [--links FOLDER]

TEXT is what alignment_text.py wrote; it gets train.pharaoh (English first) and
train.reverse.pharaoh (French first): the links of FastAlign (sil-thot) in both directions, joined
by grow-diag. No gold link has a part in them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alignments import both_ways, joined
from peers.install import FOLDER

from qkv.data import read_pairs

JOINED = "grow-diag"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path)
    parser.add_argument("--links", type=Path, help="keep the aligner's links there")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    said = parser.parse_args()
    kept = said.links or said.text
    kept.mkdir(parents=True, exist_ok=True)
    pairs = read_pairs((str(said.text / "train.en"), str(said.text / "train.fr")))
    file = kept / "train.tsv"
    file.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in pairs), encoding="utf-8")
    links = joined(pairs, *both_ways("FastAlign", (file, file), kept, said.folder), JOINED)
    for name, order in (("train", (0, 1)), ("train.reverse", (1, 0))):
        turned = (sorted(tuple(link[side] for side in order) for link in one) for one in links)
        lines = (" ".join(f"{i}-{j}" for i, j in one) for one in turned)
        (said.text / f"{name}.pharaoh").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
