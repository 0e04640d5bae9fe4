"""OpenNMT-py 3.5.1, driven: `python opennmt.py train|translate DATA WORK a|b|c [THREADS]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # its checkpoints hold a Namespace
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import yaml
from gate import Gate

TRANSFORMER = {
    "encoder_type": "transformer", "decoder_type": "transformer", "enc_layers": 4,
    "dec_layers": 4, "heads": 4, "position_encoding": True, "share_embeddings": True,
    "share_decoder_embeddings": True, "batch_type": "tokens", "batch_size": 4096,
}  # fmt: skip
SIZES = {
    "a": {
        "encoder_type": "brnn", "decoder_type": "rnn", "rnn_type": "GRU", "enc_layers": 1,
        "dec_layers": 1, "enc_hid_size": 512, "dec_hid_size": 512, "word_vec_size": 256,
        "global_attention": "mlp", "input_feed": 1, "batch_type": "sents", "batch_size": 80,
    },
    "b": TRANSFORMER | {"hidden_size": 256, "word_vec_size": 256, "transformer_ff": 1024},
    "c": TRANSFORMER | {"hidden_size": 128, "word_vec_size": 128, "transformer_ff": 256},
}  # fmt: skip


def config(data: Path, work: Path, size: str, **more: object) -> Path:
    """Write its file of settings: dropout, loss and optimiser as in our recipes."""
    settings = SIZES[size] | {
        "data": {
            "corpus": {"path_src": f"{data}/train.en", "path_tgt": f"{data}/train.de"},
        },
        "src_vocab": f"{data}/vocabulary.txt", "tgt_vocab": f"{data}/vocabulary.txt",
        "share_vocab": True, "src_vocab_size": 20000, "tgt_vocab_size": 20000,
        "bucket_size": 29000, "num_workers": 0, "normalization": "tokens",
        "optim": "adam", "learning_rate": 5e-4, "adam_beta2": 0.98, "max_grad_norm": 1.0,
        "dropout": [0.1], "attention_dropout": [0.0], "label_smoothing": 0.1,
        "param_init": 0.0, "param_init_glorot": True,
        "save_model": f"{work}/opennmt-{size}", "train_steps": 1_000_000,
        "save_checkpoint_steps": 1_000_000, "report_every": 1_000_000, "seed": 1,
    } | more  # fmt: skip
    path = work / f"opennmt-{size}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def options(path: Path):
    """Return its settings, checked by itself."""
    from onmt.bin import train

    sys.argv = ["onmt_train", "-config", str(path)]
    return train._get_parser().parse_known_args()[0]


def drive_training(path: Path) -> None:
    """Train in windows."""
    import onmt.trainer
    from onmt.bin.train import train

    gate, whole = Gate(), onmt.trainer.Trainer.train

    def in_windows(trainer, batches, *rest, **named):
        pad = trainer.train_loss.padding_idx
        gate.tell(parameters=sum(p.numel() for p in trainer.model.parameters()))
        real = lambda batch: int(batch[0]["tgt"][:, 1:, 0].ne(pad).sum())  # noqa: E731
        return whole(trainer, gate.windows(batches, real), *rest, **named)

    onmt.trainer.Trainer.train = in_windows
    train(options(path))


def checkpoint(data: Path, work: Path, size: str) -> Path:
    """Train four steps where that is not done, and return what it saved."""
    path = work / f"opennmt-{size}_step_4.pt"
    if not path.exists():
        from onmt.bin.train import train

        few = {"train_steps": 4, "save_checkpoint_steps": 4, "self_attn_type": "scaled-dot"}
        train(options(config(data, work, size, **few)))
    return path


def drive_translation(model: Path) -> None:
    """Translate when asked."""
    from onmt.bin.translate import _get_parser
    from onmt.inference_engine import InferenceEnginePY
    from onmt.utils.parse import ArgumentParser

    gate = Gate()
    out = model.with_name("translated.txt")  # it writes one, wanted or not
    words = f"--model {model} --src - --output {out} --gpu -1 --max_length_ratio 0"
    opt = _get_parser().parse_args(words.split())
    ArgumentParser.validate_translate_opts(opt)
    ArgumentParser._get_all_transform_translate(opt)
    ArgumentParser._validate_transforms_opts(opt)
    ArgumentParser.validate_translate_opts_dynamic(opt)
    engine = InferenceEnginePY(opt)

    def translate(sentences: list[str], batch: int, beam: int, length: int) -> list[list[str]]:
        opt.batch_size = batch
        searcher = engine.translator
        searcher.beam_size, searcher.min_length, searcher.max_length = beam, length, length
        searcher.sample_from_topk = int(beam == 1)  # the likeliest: its greedy search
        with torch.inference_mode():
            return [best[0].split() for best in engine.infer_list(sentences)[1]]

    gate.tell(parameters=0)
    gate.calls(translate)


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "translate", "checkpoint"))
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("threads", type=int, nargs="?", default=2)
    said = parser.parse_args()
    torch.set_num_threads(said.threads)
    said.work.mkdir(parents=True, exist_ok=True)
    if said.what == "train":
        drive_training(config(said.data, said.work, said.size))
        return
    saved = checkpoint(said.data, said.work, said.size)
    if said.what == "translate":
        drive_translation(saved)


if __name__ == "__main__":
    main()
