"""Sentences a second of search: the model as it is, and laid out for search.

    python benchmarks/decoding.py [--run RUN --input LINES] [--threads 2] [--ways model,float32]

Without a run: a Transformer of random weights, 4 + 4 layers of width 256, 9.35 M parameters, and
1,000 sources of 14 tokens more or less. Every output is forced to 15 tokens (the end symbol is
forbidden), so that all do the same work. Sentences are sorted by length; rounds alternate between
the ways. Told are the best and the median, and which share of the outputs is that of the model.
On a machine with other work, `--threads 1 --clock cpu` counts sentences a CPU-second.

ways: model (its own step), float32, bfloat16, int8 (`model.ready`), torch (float32 without
compiled loops); +2 after one of them: two batches at a time, each with one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from limits import limits
from report import RESULTS, result, save
from rounds import summary
from torch import Tensor
from work import limit, of_search, weights

import qkv
from qkv.config import SearchConfig, TransformerConfig
from qkv.memory import keep_freed_memory
from qkv.models.build import build_model
from qkv.models.decoder import Decoder
from qkv.models.model import EncoderDecoder
from qkv.models.transformer_search import TransformerSearch
from qkv.search import search
from qkv.text import EOS, PAD

SIZE, LENGTH, VOCABULARY = 1000, 14, 7744
Batch = tuple[Tensor, Tensor]


def random_model() -> EncoderDecoder:
    """Return size (b) of the peers' table."""
    torch.manual_seed(1)
    config = TransformerConfig(
        width=256, heads=4, feedforward=1024, encoder_layers=4, decoder_layers=4
    )
    return build_model(config, VOCABULARY, VOCABULARY, shared=True).eval()


def random_sources() -> list[list[int]]:
    """Return ids whose lengths spread as those of captions do."""
    torch.manual_seed(2)
    lengths = (LENGTH + 4 * torch.randn(SIZE)).round().clamp(4, 35).long().tolist()
    return [[*torch.randint(4, VOCABULARY, (n - 1,)).tolist(), EOS] for n in lengths]


def forbid_end(model: EncoderDecoder) -> None:
    """Make every output as long as it may be."""
    output = getattr(model.output, "linear", model.output)
    with torch.no_grad():
        output.project.bias[EOS] = -1e4


def spread(ids: Sequence[list[int]], size: int, count: int) -> list[Batch]:
    """Return some batches, evenly from the longest sentences to the shortest ones."""
    ordered = sorted(ids, key=len, reverse=True)
    starts = range(0, len(ordered) - size + 1, size)
    some = [starts[i * len(starts) // count] for i in range(min(count, len(starts)))]
    return [padded(ordered[start : start + size]) for start in some]


def padded(ids: Sequence[list[int]]) -> Batch:
    """Return one batch."""
    lengths = torch.tensor([len(one) for one in ids])
    source = torch.full((len(ids), int(lengths.max())), PAD)
    for row, one in enumerate(ids):
        source[row, : len(one)] = torch.tensor(one)
    return source, lengths


def ready(model: EncoderDecoder, way: str) -> Decoder:
    """Return what a way of this name asks; where it is no model's own, say which path it takes."""
    if way == "model":
        return model
    if way == "torch":
        return TransformerSearch(model, "float32")
    print(f"{way}: {model.search_plan(way)}")
    return model.ready(way)


def decode(decoder: Decoder, batches: list[Batch], config: SearchConfig, workers: int) -> list:
    """Return the tokens found for every sentence."""

    def one(batch: Batch) -> list:
        with torch.inference_mode():
            return [best.tokens for best, *_ in search(decoder, *batch, config)]

    if workers == 1:
        return [one(batch) for batch in batches]
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(one, batches))


def measure(
    decoders: dict[str, tuple[Decoder, int]], batches: list[Batch], config: SearchConfig, given
) -> dict[str, dict[str, float]]:
    """Time the ways in turn, and compare what they find with what the first one finds."""
    found, times = {}, {way: [] for way in decoders}
    clock = time.process_time if given.clock == "cpu" else time.perf_counter
    for round_ in range(given.rounds + 1):
        for way, (decoder, workers) in decoders.items():
            torch.set_num_threads(given.threads)
            begin = clock()
            outputs = decode(decoder, batches, config, workers)
            if round_:
                times[way].append(clock() - begin)
            else:
                found[way] = [tokens for batch in outputs for tokens in batch]
    first = next(iter(found.values()))
    return {
        way: summary([len(first) / seconds for seconds in times[way]])
        | {"equal": sum(map(tuple.__eq__, first, found[way])) / len(first)}
        for way in decoders
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=15)
    parser.add_argument("--ways", default="model,float32,bfloat16")
    parser.add_argument("--rows", default="greedy:64:4,beam:64:2,greedy:1:12,beam:1:6")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    keep_freed_memory()  # as the command line does
    torch.set_flush_denormal(True)
    if given.run:
        run = qkv.load(given.run, device="cpu")
        lines = given.input.read_text(encoding="utf-8").splitlines()
        model, ids = run.model, [[*run.source.encode(line).ids, EOS] for line in lines]
    else:
        model, ids = random_model(), random_sources()
    forbid_end(model)
    decoders = {}
    for way in given.ways.split(","):
        name, _, workers = way.partition("+")
        decoders[way] = (ready(model, name), int(workers or 1))
    rates, rows = limits(), []
    print(f"| sentences/s, {given.threads} threads | {' | '.join(decoders)} |")
    print("| --- |" + " --- |" * len(decoders))
    for row in given.rows.split(","):
        method, size, count = row.split(":")
        config = SearchConfig(method=method, max_ratio=0.0, max_extra=given.tokens)
        batches = spread(ids, int(size), int(count))
        found = measure(decoders, batches, config, given)
        asked = {"batch": int(size), "length": given.tokens}
        asked["beam"] = 1 if method == "greedy" else config.beam
        source = sum(float(lengths.sum()) for _, lengths in batches) / (len(batches) * int(size))
        for way, one in found.items():
            name = way.partition("+")[0]
            kind = "float32" if name in ("model", "torch") else name
            costs = of_search(weights(model), source, asked, kind)
            about = {"task": f"{method}, batch {size}", "way": f"qkv, {way}"}
            rows.append(about | {"unit": "sentences/s", **one, **limit(costs, rates)})
        cells = " | ".join(
            f"{one['most']:.1f} ({one['median']:.1f}), {one['equal']:.0%}"
            for one in found.values()
        )
        print(f"| {method}, batch {size} | {cells} |", flush=True)
    about = result("Decoding, all ways", given.threads, rates, rows=rows)
    print(save(given.results / "decoding-ours.json", about))


if __name__ == "__main__":
    main()
