"""`qkv VERB ...`: find the verb's module and run it."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from importlib.metadata import version

from qkv.cli.errors import UsageError
from qkv.memory import keep_freed_memory
from qkv.spelling import did_you_mean

VERBS = {
    "demo": "train letters to phonemes in minutes, and see where the model looked",
    "train": "fit a model to pairs, as a config says",
    "compare": "train variants of a recipe, and lay them side by side",
    "translate": "turn lines of text into lines of text",
    "classify": "give each line of text its label",
    "tag": "give each word of each line a label",
    "score": "give the log-probability of targets that are known",
    "align": "say which source word each target word came from",
    "saliency": "say which source tokens each output hangs on, beside the attention",
    "evaluate": "ask a model about a test set and measure the result",
    "explain": "test whether a classifier's attention explains what it decides",
    "serve": "answer over HTTP, with a page to try models on",
    "export": "write a model for CTranslate2 or ONNX, checked for equal tokens",
    "data": "list the named corpora, or look at the pairs of a config",
}

USAGE_ERROR = 2
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a verb and return the exit status.

    0: done. 1: the input or the files are wrong; one line on stderr says how. 2: the command line
    is wrong. 130: interrupted.
    """
    try:
        status = dispatch(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def dispatch(words: list[str]) -> int:
    """Answer what needs no verb, or run the verb."""
    if not words:
        print(usage(), file=sys.stderr)
        return USAGE_ERROR
    if words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        print(f"qkv {version('qkv')}")
        return 0
    verb, *rest = words
    if verb not in VERBS:
        hint = did_you_mean(verb, VERBS)
        print(f"qkv: no verb {verb!r}; there are: {', '.join(VERBS)}.{hint}", file=sys.stderr)
        return USAGE_ERROR
    return guarded(verb, rest)


def guarded(verb: str, rest: list[str]) -> int:
    """Run a verb, and say what the user did wrong in a line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # as what is read, whatever the locale says
    keep_freed_memory()
    try:
        status: int = import_module(f"qkv.cli.{verb}").run(rest)
        return status
    except UsageError as error:
        print(f"qkv {verb}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except ValueError as error:
        print(f"qkv {verb}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        what = f"; {error}" if str(error) else ""
        print(f"qkv {verb}: interrupted{what}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"qkv {verb}: {where}{error.strerror}", file=sys.stderr)
        return 1


def usage() -> str:
    """Return the list of verbs."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in VERBS.items()]
    return "\n".join(
        [
            "usage: qkv VERB ...",
            "",
            "Attention mechanisms as one equation, and sequence-to-sequence models built on it.",
            "",
            *lines,
            "",
            "`qkv VERB --help` says more.",
        ]
    )
