from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from qkv.training.log import JsonLines, Reporter
from small_runs import fit, qkv, tree, write_toml


class Terminal(io.StringIO):
    """What claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_history_has_the_loss_the_rate_and_the_dev_values_of_every_evaluation(
    corpus: Path, tmp_path: Path
):
    run = fit(tmp_path / "run", tree(corpus, epochs=2, metric="accuracy"))
    *records, final = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    assert [record["epoch"] for record in records] == [1, 2]
    for record in records:
        assert record.keys() >= {
            *("step", "epoch", "loss", "learning_rate", "tokens_per_second", "seconds"),
            *("dev_loss", "dev_perplexity", "dev_accuracy"),
        }
        assert record["tokens_per_second"] > 0
    assert records[0]["seconds"] < records[1]["seconds"]
    assert final.keys() == {"step", "weights", "of_steps", "dev_accuracy"}


def test_going_on_drops_what_will_be_written_again_and_half_lines(tmp_path: Path):
    lines = JsonLines(tmp_path / "metrics.jsonl")
    for step in (2, 4, 6):
        lines.write({"step": step})
    lines.write({"step": 6, "weights": "best"})
    with lines.path.open("a") as stream:
        stream.write('{"step": 8, "lo')
    lines.cut_after(6)
    assert [json.loads(line)["step"] for line in lines.path.read_text().splitlines()] == [2, 4, 6]
    lines.cut_after(3)
    assert lines.path.read_text() == '{"step": 2}\n'


def test_a_log_that_is_no_terminal_gets_plain_lines():
    log = io.StringIO()
    with patch("sys.stderr", log), Reporter(speaks=True, seconds_between_lines=0.0) as reporter:
        reporter.say("hello")
        reporter.update(0.25, 30.0, "loss 1")
        reporter.update(0.5, 60.0, "loss 0.5")
    assert log.getvalue().splitlines() == [
        "hello",
        " 25%  30 s gone, 90 s to go  loss 1",
        " 50%  60 s gone, 60 s to go  loss 0.5",
    ]


def test_plain_lines_come_no_faster_than_asked_for():
    log = io.StringIO()
    with patch("sys.stderr", log), Reporter(speaks=True, seconds_between_lines=60.0) as reporter:
        for step in range(1, 50):
            reporter.update(step / 50, step, "")
    assert len(log.getvalue().splitlines()) == 1


def test_a_terminal_gets_a_bar_with_the_remaining_time():
    log = Terminal()
    with patch("sys.stderr", log), Reporter(speaks=True) as reporter:
        reporter.update(0.5, 60.0, "loss 0.5")
        assert reporter.bar is not None
        reporter.bar.refresh()
        reporter.say("a line that stays")
    assert "50%" in log.getvalue() and "to go" in log.getvalue()
    assert "a line that stays\n" in log.getvalue()


def test_a_process_that_does_not_lead_says_nothing():
    log = Terminal()
    with patch("sys.stderr", log), Reporter(speaks=False) as reporter:
        reporter.say("hello")
        reporter.update(0.5, 60.0, "loss 0.5")
    assert log.getvalue() == ""


def test_quiet_says_nothing(corpus: Path, tmp_path: Path):
    config = write_toml(tmp_path / "config.toml", tree(corpus, epochs=1))
    outcome = qkv("train", config, "--out", tmp_path / "run", "--quiet")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_tensorboard_gets_every_number_of_the_history(corpus: Path, tmp_path: Path):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    run = fit(tmp_path / "run", tree(corpus, epochs=2, tensorboard=True))
    events = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    first, second, _ = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    for name in ("loss", "dev_loss", "tokens_per_second"):
        found = events.Scalars(name)[:2]  # the dev value that was kept comes again at the end
        assert [event.step for event in found] == [first["step"], second["step"]]
        assert [event.value for event in found] == pytest.approx([first[name], second[name]])


def test_a_missing_tensorboard_is_named_with_what_to_install(corpus: Path, tmp_path: Path):
    with (
        patch.dict(sys.modules, {"torch.utils.tensorboard": None}),
        pytest.raises(ValueError, match=r"pip install 'qkv\[tensorboard\]'"),
    ):
        fit(tmp_path / "run", tree(corpus, epochs=1, tensorboard=True))
