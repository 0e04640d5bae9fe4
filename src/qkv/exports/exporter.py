"""export(): write a run for another program, and see that it says the same."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from qkv.exports import FORMATS
from qkv.exports.compare import compare
from qkv.exports.format import Format
from qkv.files import write_atomically
from qkv.run import Run, load
from qkv.spelling import did_you_mean
from qkv.text import Side


def export(
    run: Run | str | Path, folder: str | Path, to: str, *, check: Sequence[str] = ()
) -> Path:
    """Write a trained model as another program reads it, with all that its texts need.

    The exported model and ours decode some sources greedily, and must find the same tokens with
    the same log-probability; a folder is left only if they do.

    Args:
        run: a run, or its folder.
        folder: where to write; it must not exist, or be empty.
        to: "ctranslate2" (Transformers) or "onnx" (every kind but ntm).
        check: source texts to compare with; besides, some sources are drawn from the vocabulary.

    Returns: the folder.

    Raises:
        ValueError: an unknown format, one whose package is not installed, a model that the format
            cannot express (the key is named), a folder that holds something, or an exported
            model that gives other tokens.
    """
    wanted = format_of(to)
    wanted.require()
    loaded = run if isinstance(run, Run) else load(run, device="cpu")
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not an empty folder; give another one, or delete it")
    wanted.refuse(loaded)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        made = Path(name) / "made"
        made.mkdir()
        facts = wanted.write(loaded, made)
        facts["checked"] = compare(wanted, loaded, made, check)
        describe(wanted, loaded, made, facts)
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)
    return folder


def format_of(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS)
        raise ValueError(f"no format {name!r}; there are: {', '.join(FORMATS)}.{hint}")
    module, _, found = FORMATS[name].partition(":")
    made: Format = getattr(import_module(module), found)()
    return made


def describe(wanted: Format, run: Run, folder: Path, facts: dict[str, Any]) -> None:
    """Write how to run the model, for people and for programs, and what its texts need."""
    facts = {
        "format": wanted.name,
        "source": side_files(run.source, folder, "source"),
        "target": side_files(run.target, folder, "target"),
        "ids": {name: i for i, name in enumerate(("pad", "bos", "eos", "unk"))},
        **facts,
    }
    write_atomically(
        folder / "qkv.json", (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()
    )
    checked = facts["checked"]
    text = README.format(
        name=wanted.name,
        extra=wanted.extra,
        usage=wanted.usage(run),
        sources=checked["sources"],
        off=checked["largest_difference_of_log_prob"],
    )
    write_atomically(folder / "README.md", text.encode())


def side_files(side: Side, folder: Path, name: str) -> dict[str, Any]:
    """Write what turns this side's text into tokens, and say what it is."""
    side.save(folder / f"{name}.json")
    facts: dict[str, Any] = {
        "tokenizer": side.tokenizer.kind,
        "lowercase": side.lowercase,
        "file": f"{name}.json",
    }
    if side.tokenizer.model:
        (folder / f"{name}.spm").write_bytes(side.tokenizer.model)
        facts["sentencepiece"] = f"{name}.spm"
    return facts


README = """# A model of qkv for {name}

`qkv.json` says the same to programs. `source.json` and `target.json` turn text into tokens and
tokens into text (`qkv.text.Side`); where the tokens are sentencepiece's, its models lie beside
them (`.spm`). Any other way of cutting text gives tokens that the model does not know.

```python
{usage}
```

When this was written, greedy search gave the same tokens as qkv itself for {sources} sources, and
log-probabilities within {off:.1e}.
"""
