"""Hugging Face's MarianMT, driven: `python marian.py train|translate DATA SIZE [THREADS]`.

transformers is an extra of this project (`hf`), so it needs no environment of its own. Training is
the plain loop that its users write: batches of like lengths within 4,096 padded tokens, as ours.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from gate import Gate
from torch.nn.functional import cross_entropy
from transformers import MarianConfig, MarianMTModel

PAD, START, END, UNKNOWN = range(4)
SIZES = {"b": (256, 1024), "c": (128, 256)}
TOKENS = 4096
Pair = tuple[list[int], list[int]]


def vocabulary(data: Path) -> dict[str, int]:
    """Return the number of each piece."""
    lines = (data / "vocabulary.txt").read_text().splitlines()
    return {line.split()[0]: 4 + number for number, line in enumerate(lines)}


def build(size: str, kinds: int) -> MarianMTModel:
    """Return a model of random weights, with the attention that its authors chose as fastest."""
    torch.manual_seed(1)
    width, feedforward = SIZES[size]
    config = MarianConfig(
        vocab_size=kinds, d_model=width, encoder_layers=4, decoder_layers=4,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=feedforward,
        decoder_ffn_dim=feedforward, dropout=0.1, activation_function="relu",
        scale_embedding=True, pad_token_id=PAD, bos_token_id=START, eos_token_id=END,
        decoder_start_token_id=START, forced_eos_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    return MarianMTModel(config)


def size_of(model: torch.nn.Module) -> int:
    """Count what is trained: its sinusoids are kept as parameters that are not."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def padded(rows: list[list[int]]) -> torch.Tensor:
    """Return one tensor."""
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def batches(pairs: list[Pair]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Give batches of like lengths for ever, shuffled anew in each epoch."""
    while True:
        random.shuffle(pairs)
        pairs.sort(key=lambda pair: (max(map(len, pair)), len(pair[1])))
        found: list[list[Pair]] = [[]]
        for pair in pairs:
            if (len(found[-1]) + 1) * max(map(len, pair)) > TOKENS:
                found.append([])
            found[-1].append(pair)
        random.shuffle(found)
        for batch in found:
            sources, targets = zip(*batch, strict=True)
            yield padded(list(sources)), padded(list(targets))


def drive_training(data: Path, size: str) -> None:
    """Train in windows."""
    gate, number = Gate(), vocabulary(data)
    random.seed(1)
    sides = [
        [[*(number.get(piece, UNKNOWN) for piece in line.split()), END] for line in file]
        for file in ((data / f"train.{language}").open() for language in ("en", "de"))
    ]
    model = build(size, 4 + len(number)).train()
    adam = torch.optim.Adam(model.parameters(), lr=5e-4, betas=(0.9, 0.98))
    gate.tell(parameters=size_of(model))
    every = batches(list(zip(*sides, strict=True)))
    for source, target in gate.windows(every, lambda pair: int(pair[1].ne(PAD).sum())):
        shifted = torch.nn.functional.pad(target[:, :-1], (1, 0), value=START)
        logits = model(
            input_ids=source, attention_mask=source.ne(PAD), decoder_input_ids=shifted
        ).logits
        loss = cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=0.1
        )
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()


def drive_translation(data: Path, size: str) -> None:
    """Translate when asked, with random weights."""
    gate, number = Gate(), vocabulary(data)
    model = build(size, 4 + len(number)).eval()

    @torch.inference_mode()
    def translate(sentences: list[str], batch: int, beam: int, length: int) -> list[list[str]]:
        ids = [[*(number.get(w, UNKNOWN) for w in line.split()), END] for line in sentences]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        found: dict[int, list[str]] = {}
        for start in range(0, len(order), batch):
            some = order[start : start + batch]
            source = padded([ids[i] for i in some])
            out = model.generate(
                input_ids=source, attention_mask=source.ne(PAD), num_beams=beam,
                do_sample=False, min_new_tokens=length, max_new_tokens=length,
            )  # fmt: skip
            found |= zip(some, (list(map(str, row[1:])) for row in out.tolist()), strict=True)
        return [found[i] for i in range(len(ids))]

    gate.tell(parameters=size_of(model))
    gate.calls(translate)


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("train", "translate"))
    parser.add_argument("data", type=Path)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("threads", type=int, nargs="?", default=2)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    {"train": drive_training, "translate": drive_translation}[said.what](said.data, said.size)


if __name__ == "__main__":
    main()
