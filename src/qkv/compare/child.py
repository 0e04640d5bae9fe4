"""The process of one variant: train it, measure it, leave the record in its folder.

Started as `python -m qkv.compare.child`, with the job as a line of JSON on standard input. On
standard output it says in JSON what went wrong, if anything. It ends when its input does, so that
it does not outlive the process that compares.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkv.compare.memory import peak_memory
from qkv.compare.record import Question, Record, answered, plain_tree, trained
from qkv.config import Config
from qkv.configfile import make_config
from qkv.folder import RunFolder

if TYPE_CHECKING:
    from qkv.data import Pairs
    from qkv.run import Run
    from qkv.view import Figure


def main() -> int:
    """Do the job and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and closes the input
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=end_with_the_input, daemon=True).start()
    config = make_config(job["config"])
    try:
        with redirect_stdout(sys.stderr):
            work(Path(job["folder"]), config, Question.read(job["question"]))
    except (ValueError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    except Exception as error:  # whatever it is, the other variants go on
        traceback.print_exc()
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
        return 1
    return 0


def end_with_the_input() -> None:
    """Wait for the end of standard input, and end the process: a training loses nothing by it."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def work(folder: Path, config: Config, question: Question) -> None:
    """Do what is still to be done of a variant."""
    record = trained(folder, config)
    if record is None:
        from qkv.training.loop import train

        train(config, folder)
        record = Record(plain_tree(config), cost(RunFolder(folder)))
        record.save(folder)
    if answered(folder, config, question) is None:
        answer = measure_all(folder, question)
        replace(record, question=question.json(), answer=answer).save(folder)


def cost(folder: RunFolder) -> dict[str, Any]:
    """Return what the training took: the rate and the time of its updates, and its memory.

    The peak is that of this process: of a training that was killed, that of its last part.
    """
    import torch

    lines = folder.metrics.read_text(encoding="utf-8").splitlines()
    records = [one for one in map(json.loads, lines) if "tokens_per_second" in one]
    tokens = seconds = 0.0
    for one in records:
        tokens += one["tokens_per_second"] * (one["seconds"] - seconds)
        seconds = one["seconds"]
    return {
        "tokens_per_second": tokens / seconds if seconds else None,
        "minutes": seconds / 60,
        "peak_mib": peak_memory(),
        "threads": torch.get_num_threads(),
    }


def measure_all(folder: Path, question: Question) -> dict[str, Any]:
    """Return all the numbers of a trained model, and its heat maps of a few dev pairs."""
    import torch

    from qkv.data import load_pairs
    from qkv.evaluate import pair_texts, read_gold
    from qkv.measure import alignment_error, measure, parameters, perplexity
    from qkv.run import load

    loaded = load(folder)
    if loaded.config.training.threads:
        torch.set_num_threads(loaded.config.training.threads)
    data = loaded.config.data
    dev = load_pairs(data, "dev")
    error = None
    if question.gold and loaded.network.predicts == "sequence" and loaded.network.attends:
        gold = read_gold(question.gold)
        error = alignment_error(loaded, pair_texts(gold, question.gold), gold).json()
    _, result = measure(loaded, load_pairs(data, question.split), question.metrics)
    return {
        "parameters": parameters(loaded),
        "dev_perplexity": perplexity(loaded, dev),
        "metrics": {score.name: score.json() for score in result.scores},
        "alignment": error,
        "drawings": draw(loaded, dev.first(question.show)),
    }


def draw(loaded: Run, pairs: Pairs) -> list[dict[str, Any]]:
    """Return where the model looks while it reads each pair's target, and what it would write."""
    from qkv.figures import figure_of

    if not len(pairs):
        return []
    if loaded.network.predicts != "sequence":
        return draw_labels(loaded, pairs)
    written = [found[0].text for found in loaded.translate(pairs.sources)]
    drawings = []
    for found, text in zip(loaded.force(pairs.sources, pairs.targets), written, strict=True):
        drawing: dict[str, Any] = {
            "source": found.source.text,
            "target": found.target.text,
            "written": text,
        }
        if loaded.model.attends:
            drawing["figure"] = plain(figure_of(loaded, found))
        drawings.append(drawing)
    return drawings


def draw_labels(loaded: Run, pairs: Pairs) -> list[dict[str, Any]]:
    """Return where a model of labels looks in each pair's source, and which labels it gives."""
    from qkv.figures import labelled

    return [
        {
            "source": pair.source,
            "target": pair.target,
            "written": written,
            "figure": plain(figure),
        }
        for pair, (written, figure) in zip(pairs, labelled(loaded, pairs.sources), strict=True)
    ]


def plain(figure: Figure) -> dict[str, Any]:
    """Return a figure as plain values."""
    return {
        "weights": figure.weights.tolist(),
        "target": figure.target,
        "source": figure.source,
        "note": figure.note,
    }


if __name__ == "__main__":
    sys.exit(main())
