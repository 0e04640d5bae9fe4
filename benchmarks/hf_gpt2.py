"""Forward time of a random GPT-2 small inside transformers: eager, sdpa and qkv, side by side.

    OMP_NUM_THREADS=1 python benchmarks/hf_gpt2.py --lengths 512 1024 --layers 4 --rounds 15

One process, one thread, so the time taken is the processor's: a busy machine does not count as
a slow attention. Every round runs each variant once, in turn. That the outputs are equal is
checked first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import transformers
from report import RESULTS, result, save, table
from rounds import summary

import qkv

VARIANTS = [("eager", False), ("sdpa", False), ("qkv", False), ("eager", True), ("qkv", True)]


def main() -> None:
    """Measure, and leave a result."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--lengths", type=int, nargs="+", default=[512, 1024])
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--layers", type=int, default=4)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--results", type=Path, default=RESULTS)
    said = options.parse_args()
    torch.set_num_threads(1)
    qkv.hf.register()
    rows: list[dict] = []
    for length in said.lengths:
        for padded in (False, True):
            rows += rows_of(length, padded, said)
    title = f"GPT-2 of {said.layers} layers in transformers, forward, batch {said.batch}"
    found = result(title, 1, {}, rows=rows, notes=["Times are the processor's."])
    print(table(found))
    print(save(said.results / "hf_gpt2.json", found))


def rows_of(length: int, padded: bool, said: argparse.Namespace) -> list[dict]:
    """Measure each variant at a length. padded: a quarter of the keys are pads."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        n_layer=said.layers, n_positions=max(1024, length), use_cache=False
    )
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    ids = torch.randint(3, 50000, (said.batch, length))
    mask = torch.ones_like(ids)
    if padded:
        mask[:, : length // 4] = 0
    times = measure(model, {"input_ids": ids, "attention_mask": mask}, said.rounds)
    place = f"{length} tokens{', a quarter padded' if padded else ''}"
    return [
        {
            "task": f"{place}, {'with' if asked else 'without'} attentions",
            "way": name,
            "unit": "ms",
            **summary(taken),
        }
        for (name, asked), taken in times.items()
    ]


@torch.inference_mode()
def measure(
    model: torch.nn.Module, given: dict[str, torch.Tensor], rounds: int
) -> dict[tuple[str, bool], list[float]]:
    """Milliseconds of each variant, once a round."""
    times: dict[tuple[str, bool], list[float]] = {variant: [] for variant in VARIANTS}
    real = given["attention_mask"].bool()
    expected = None
    for number in range(rounds + 2):
        for name, asked in VARIANTS:
            model.set_attn_implementation(name)
            start = time.process_time()
            out = model(**given, output_attentions=asked)
            taken = 1000 * (time.process_time() - start)
            if number >= 2:  # the first two warm up
                times[name, asked].append(taken)
                continue
            read = out.last_hidden_state[real]
            expected = read if expected is None else expected
            torch.testing.assert_close(read, expected, atol=1e-4, rtol=1e-4)
            assert not asked or len(out.attentions) == model.config.n_layer
    return times


if __name__ == "__main__":
    main()
