"""Forward time of a random GPT-2 small inside transformers: eager, sdpa and qkv, side by side.

    OMP_NUM_THREADS=1 python benchmarks/hf_gpt2.py --length 512 --layers 4 --rounds 15

One process, one thread, so the time taken is the processor's: a busy machine does not count as
a slow attention. Every round runs each variant once, in turn; told are the medians, and the median
over the rounds of eager's time over it. That the outputs are equal is checked first.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import transformers

import qkv

VARIANTS = [("eager", False), ("sdpa", False), ("qkv", False), ("eager", True), ("qkv", True)]


def main() -> None:
    """Measure and print a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--length", type=int, default=512)
    options.add_argument("--batch", type=int, default=1)
    options.add_argument("--layers", type=int, default=12)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--padded", action="store_true", help="a quarter of the keys are pads")
    said = options.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    qkv.hf.register()
    config = transformers.GPT2Config(
        n_layer=said.layers, n_positions=max(1024, said.length), use_cache=False
    )
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    ids = torch.randint(3, 50000, (said.batch, said.length))
    mask = torch.ones_like(ids)
    if said.padded:
        mask[:, : said.length // 4] = 0
    times = measure(model, {"input_ids": ids, "attention_mask": mask}, said.rounds)
    print(f"length {said.length}, batch {said.batch}, {said.layers} layers, one thread")
    print("| attention | output_attentions | ms | eager / it |")
    print("| --- | --- | --- | --- |")
    for (name, asked), taken in times.items():
        ratios = [one / other for one, other in zip(times["eager", asked], taken, strict=True)]
        middle, ratio = statistics.median(taken), statistics.median(ratios)
        print(f"| {name} | {'yes' if asked else 'no'} | {middle:.0f} | {ratio:.2f} |")


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
