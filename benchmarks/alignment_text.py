"""English-French training text for word alignments, written as the gold links of the Hansards are.

    python benchmarks/alignment_text.py TATOEBA PYDOCS OUT

OUT gets train.en, train.fr, dev.en and dev.fr: the sentences of tatoeba-enfr, and those of
pydocs-enfr after them. The gold links (WPT 2003) are of words without contractions: `do not`,
`de le` for `du`, `le heure` for `l'heure`; each mark is a word. So is this text, in lower case.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from qkv.config import DataConfig
from qkv.data import load_pairs, read_pairs
from qkv.data.families.folder import find

ENGLISH = (
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\bshan't\b", "shall not"),
    (r"n't\b", " not"),
    (r"\b(it|he|she|that|what|there|here|where|who|how)'s\b", r"\1 is"),
    (r"'m\b", " am"),
    (r"'re\b", " are"),
    (r"'ve\b", " have"),
    (r"'ll\b", " will"),
    (r"'d\b", " would"),
    (r"'s\b", " 's"),
)
FRENCH = (
    (r"\baujourd'hui\b", "aujourd' hui"),
    (r"\bs'(?=ils?\b)", "si "),
    (r"\b(l|d|n|s|j|m|t|c|qu|jusqu|lorsqu|puisqu|quoiqu|quelqu|presqu)'", r"\1e "),
    (r"\bdu\b", "de le"),
    (r"\bdes\b", "de les"),
    (r"\bau\b", "à le"),
    (r"\baux\b", "à les"),
)
MARKS = re.compile(r"(\.\.\.|--|(?<![0-9])[.,](?![0-9])|(?<=[0-9])[.,](?![0-9])|[^\w\s.,'])")


def words(text: str, contractions: tuple[tuple[str, str], ...]) -> str:
    """Return a text as words between spaces, each mark one of them."""
    text = text.lower().replace("\u2019", "'")
    for pattern, whole in contractions:
        text = re.sub(pattern, whole, text)
    return " ".join(MARKS.sub(r" \1 ", text).split())


def main() -> None:
    """Write the files."""
    tatoeba, pydocs, out = sys.argv[1:]
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "dev"):
        pairs = list(load_pairs(DataConfig(corpus="tatoeba-enfr", directory=tatoeba), split))
        pairs += read_pairs((find(pydocs, f"{split}.en"), find(pydocs, f"{split}.fr")), "skip")
        rows = [(words(pair.source, ENGLISH), words(pair.target, FRENCH)) for pair in pairs]
        for name, lines in zip(("en", "fr"), zip(*rows, strict=True), strict=True):
            (folder / f"{split}.{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
