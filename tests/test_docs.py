"""The pages of docs/ are what the docstrings say, and their examples run."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

import qkv.attention
from generator.docstrings import Told, tell
from generator.pages import with_names, write
from generator.slots import SLOTS
from qkv.attention.kernels import KERNELS

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^### (\S+)\n.*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REGISTRY = re.compile("[A-Z]+$")
ENTRIES = [(slot, name) for slot in SLOTS for name in slot.registry]
EXAMPLES = BLOCK.findall((ROOT / "docs" / "mechanisms.md").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_pages_and_pictures_are_what_make_docs_writes(tmp_path):
    write(tmp_path)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT) for path in (ROOT / "docs" / "gallery").iterdir()}
    assert kept == {path for path in made if path.parent.name == "gallery"}
    stale = [
        str(path)
        for path in sorted(made)
        if (tmp_path / path).read_text(encoding="utf-8")
        != (ROOT / path).read_text(encoding="utf-8")
    ]
    assert not stale, f"run `make docs`: {', '.join(stale)}"


@pytest.mark.parametrize(("slot", "name"), ENTRIES, ids=[f"{s.title}-{n}" for s, n in ENTRIES])
def test_each_docstring_has_formula_source_cost_and_what_differs(slot, name):
    told = tell(slot.registry[name])
    wanted = ["formula", "source", "differs", *(["cost"] if slot.example else [])]
    assert not [field for field in wanted if not getattr(told, field)]


def test_every_registry_of_the_core_has_a_table():
    shown = [slot.registry for slot in SLOTS] + [KERNELS]
    for module in pkgutil.walk_packages(qkv.attention.__path__, "qkv.attention."):
        if module.ispkg:
            own = vars(import_module(module.name))
            registries = {name: held for name, held in own.items() if REGISTRY.match(name)}
            for name, held in registries.items():
                assert any(held is known for known in shown), f"{module.name}.{name}"


def test_every_mechanism_of_the_gallery_has_an_example():
    assert [name for name, _ in EXAMPLES] == [name for slot, name in ENTRIES if slot.example]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_an_example_runs_and_shows_something(name, text, capsys):
    assert text.splitlines()[-1].startswith(("print(", "assert ", "torch.testing.assert_close("))
    assert len(text.splitlines()) <= 24
    with torch.random.fork_rng(devices=[]):
        exec(compile(text, name, "exec"), {})
    assert capsys.readouterr().out


def test_the_gallery_stays_small():
    sizes = [path.stat().st_size for path in (ROOT / "docs" / "gallery").iterdir()]
    assert max(sizes) < 12_000
    assert sum(sizes) < 500_000


def test_the_files_that_the_overview_names_are_there():
    text = (ROOT / "docs" / "overview.md").read_text(encoding="utf-8")
    inside = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", text) + re.findall(
        r"src/qkv/([\w/]+\.py)", text
    )
    names = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src").rglob("*")}
    names |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.py")}
    lost = [n for n in inside if not any(f"/{one}".endswith(f"/{n.strip('/')}") for one in names)]
    assert not lost


def test_a_docstring_is_read_field_by_field():
    assert tell(Sample) == Told(
        source="Bahdanau et al. 2015, eq. 6; Luong 2015",
        formula="a = b\nc = d",
        parameters="W [n, m]. It starts at 0",
        cost="T*S",
        differs="not much; a: b",
    )


def test_the_list_of_names_is_renewed_and_the_rest_is_kept():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    spoilt = readme.replace("`additive`, ", "", 1)
    assert spoilt != readme
    assert with_names(spoilt) == readme


class Sample:
    """A sample (Bahdanau et al. 2015, eq. 6), of something (Luong 2015): of (nothing else).

        a = b
        c = d

    It says: more. Parameters: W [n, m]. It starts at 0.
    Cost: T*S. Differs from the paper, a little: not
    much; a: b.
    """
