"""CTranslate2 4.8.5, driven: `python ctranslate.py MODEL TYPE INTER INTRA` (int8, float32)."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import ctranslate2
from gate import Gate


def main() -> None:
    """Translate when asked."""
    model, kind, inter, intra = sys.argv[1:5]
    gate = Gate()
    translator = ctranslate2.Translator(
        model, compute_type=kind, inter_threads=int(inter), intra_threads=int(intra)
    )

    def translate(sentences: list[str], batch: int, beam: int, length: int) -> list[list[str]]:
        found = translator.translate_batch(
            [sentence.split() for sentence in sentences],
            max_batch_size=batch, beam_size=beam,
            min_decoding_length=length, max_decoding_length=length,
        )  # fmt: skip
        return [one.hypotheses[0] for one in found]

    gate.tell(parameters=0)
    gate.calls(translate)


if __name__ == "__main__":
    main()
