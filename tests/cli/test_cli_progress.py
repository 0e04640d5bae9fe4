from __future__ import annotations

import io
from pathlib import Path
from unittest.mock import patch

import pytest

from qkv.cli.progress import Progress
from qkv.run import load
from small_runs import qkv


class Terminal(io.StringIO):
    """What claims to be a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_long_translation_says_where_it_is_in_plain_lines_on_standard_error(trained: Path):
    now = Progress("translate", silent_seconds=0.0, seconds_between_lines=0.0)
    with patch("qkv.cli.translate.Progress", lambda verb: now):
        outcome = qkv("translate", trained, stdin="a b c d e\n\nb\n")
    assert outcome.lines == ["e d c b a", "", "b"]
    said = outcome.err.splitlines()
    assert len(said) >= 5  # one a step, and the longer output has five tokens
    assert all(line.startswith("qkv translate: ") for line in said)
    assert "0 of 2 lines" in said[0] and "2 of 2 lines" in said[-1]


def test_a_translation_that_takes_no_time_says_nothing(trained: Path):
    assert qkv("translate", trained, stdin="a b\n").err == ""


def test_lines_come_no_faster_than_asked_for():
    log = io.StringIO()
    progress = Progress("translate", silent_seconds=0.0, seconds_between_lines=60.0)
    with patch("sys.stderr", log), progress.chunk(3) as update:
        for _ in range(50):
            update(0)
    assert len(log.getvalue().splitlines()) == 1


@pytest.mark.parametrize(("silent", "shown"), [(0.0, True), (60.0, False)])
def test_a_terminal_gets_a_bar_which_goes_away_and_shows_only_after_a_while(
    silent: float, shown: bool
):
    log = Terminal()
    progress = Progress("translate", silent_seconds=silent)
    with patch("sys.stderr", log):
        with progress.chunk(4) as update:
            update(1)
        with progress.chunk(4) as update:
            update(0)
            update(2)
    assert ("/8" in log.getvalue()) == shown
    assert (progress.done, progress.known) == (3, 8)


def test_progress_is_called_each_step_and_its_numbers_add_up_to_the_texts(trained: Path):
    calls: list[int] = []
    load(trained).translate(["a b c d", "b", "a a"], progress=calls.append)
    assert sum(calls) == 3
    assert len(calls) >= 5  # four tokens and the end symbol
