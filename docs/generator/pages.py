"""The pages: the gallery, the tables, and the list of names in the README."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from generator import pictures
from generator.docstrings import summary, tell
from generator.slots import SLOTS, Slot
from qkv.attention.kernels import KERNELS

ROOT = Path(__file__).parents[2]
MADE = "<!-- Written by `make docs` from the docstrings: change those. -->"
BEGIN, END = "<!-- names: written by `make docs` -->", "<!-- end of names -->"
FIELDS = {
    "parameters": "parameters",
    "cost": "cost",
    "source": "source",
    "differs": "differs from the source",
}
_CODE = re.compile(r"(`[^`]*`)")


def pages() -> dict[str, str]:
    """Return the text of every file that is generated, by its path from the root."""
    drawn = drawings()
    named: dict[str, str] = {}
    for name, drawing in drawn.items():
        named.setdefault(drawing, name)  # what looks alike is one file
    files = {f"docs/gallery/{name}.svg": drawing for drawing, name in named.items()}
    places = {name: f"gallery/{named[drawing]}.svg" for name, drawing in drawn.items()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return files | {
        "docs/mechanisms.md": gallery(places),
        "docs/tables.md": tables(),
        "README.md": with_names(readme),
    }


def write(folder: Path) -> None:
    """Write all of them under a folder, and remove pictures that nothing draws any more."""
    files = pages()
    for path in (folder / "docs" / "gallery").glob("*.svg"):
        if f"docs/gallery/{path.name}" not in files:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def drawings() -> dict[str, str]:
    """Return each mechanism's picture; every one starts from the same seed."""
    found = {}
    for slot in SLOTS:
        for name in slot.registry if slot.draw else ():
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2015)
                found[name] = pictures.picture(slot.draw(slot.part(name)))
    return found


def gallery(places: dict[str, str]) -> str:
    """Return the gallery: formula, picture, cost and an example of each."""
    parts = [MADE, "# Gallery", pictures_note()]
    for slot in SLOTS:
        if slot.example:
            parts += [f"## {slot.title}", opening(slot)]
            parts += [entry(slot, name, places.get(name)) for name in slot.registry]
    return "\n\n".join(part for part in parts if part) + "\n"


def pictures_note() -> str:
    """Say what all pictures share."""
    return (
        "Each mechanism with its formula, its picture, its cost, and lines that use it; the "
        "[tables](tables.md) have them side by side. T is the number of queries, S of keys.\n\n"
        "All pictures are of one sentence pair, that of Bahdanau, Cho and Bengio (2015), figure "
        "3a: rows ask, columns are read. The vectors are no trained model's: a word and its "
        "translation share a planted direction, each with noise of its own, and what a mechanism "
        "learns was trained on this one pair for a moment. Masks, biases and rotary positions are "
        "shown without any content."
    )


def entry(slot: Slot, name: str, place: str | None) -> str:
    """Return one mechanism's part of the gallery."""
    told = tell(slot.registry[name])
    lines = [f"### {name}", f"```text\n{told.formula}\n```"]
    if place:
        lines.append(f"![Where {name} looks]({place})")
    said = {FIELDS[field]: prose(getattr(told, field)) for field in FIELDS}
    lines.append("\n".join(f"- {label}: {text}." for label, text in said.items() if text))
    code = slot.example.replace("{part}", slot.part(name))
    return "\n\n".join([*lines, f"```python\n{code}```"])


def tables() -> str:
    """Return every slot's table, and that of the kernels."""
    parts = [
        MADE,
        "# Tables",
        "What each slot holds. T is the number of queries, S of keys. The "
        "[gallery](mechanisms.md) has pictures and examples.",
    ]
    for slot in SLOTS:
        parts += [f"## {slot.title}", opening(slot), table(slot)]
    parts += ["## Kernels", summary("qkv.attention.kernels"), kernels()]
    return "\n\n".join(part for part in parts if part) + "\n"


def opening(slot: Slot) -> str:
    """Return what a section begins with."""
    said = summary(slot.module) if len(slot.registry) > 1 else ""
    key = f"In a config: `{slot.key}`." if slot.key else ""
    return "\n\n".join(part for part in (said, key) if part)


def table(slot: Slot) -> str:
    """Return the table of one registry."""
    told = {name: tell(target) for name, target in slot.registry.items()}
    said = [field for field in FIELDS if any(getattr(one, field) for one in told.values())]
    rows = [["name", "formula", *(FIELDS[field] for field in said)], ["---"] * (len(said) + 2)]
    for name, one in told.items():
        shown = f"[{name}](mechanisms.md#{name})" if slot.example else name
        formula = "<br>".join(f"`{bare(line)}`" for line in one.formula.splitlines())
        rows.append([shown, formula, *(prose(getattr(one, field)) or "-" for field in said)])
    return joined(rows)


def kernels() -> str:
    """Return what each kernel covers."""
    heads = "name, what it is, scores, normalizers, reweighter, dropout, learned bias"
    rows = [[*heads.split(", "), "leaves out what a mask forbids"], ["---"] * 8]
    for kernel in KERNELS.values():
        covers = (kernel.families, kernel.normalizers)
        marks = (kernel.reweights, kernel.drops_out, kernel.learns_bias, kernel.tiles)
        cells = [", ".join(names) if names else "all" for names in covers]
        cells += ["yes" if mark else "no" for mark in marks]
        rows.append([kernel.name, prose(kernel.purpose), *cells])
    return joined(rows)


def joined(rows: list[list[str]]) -> str:
    """Return rows as a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def with_names(readme: str) -> str:
    """Return the README with its list of names renewed."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [["slot", "names", "in a config"], ["---"] * 3]
    for slot in SLOTS:
        names = ", ".join(f"`{name}`" for name in slot.registry)
        rows.append([slot.title, names, f"`{slot.key}`" if slot.key else ""])
    return f"{before}{BEGIN}\n{joined(rows)}\n{END}{after}"


def bare(text: str) -> str:
    """Keep a bar from ending a table's cell, and runs of spaces from showing."""
    return re.sub(" +", " ", text).replace("|", r"\|")


def prose(text: str) -> str:
    """Keep Markdown from reading arithmetic as markup."""
    kept = _CODE.split(text)
    kept[::2] = [re.sub(r"([*<])", r"\\\1", part) for part in kept[::2]]
    return "".join(kept).replace("|", r"\|")
