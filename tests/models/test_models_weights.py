"""Weights in a file."""

from __future__ import annotations

import re

import pytest
import torch
from model_cases import CASES, EXACT, Case, fresh, padded, sources, stir, targets, variant
from torch import nn
from torch.testing import assert_close

from qkv.models.weights import load_parameters, load_tensors, parameters_of, save_tensors

SHARED = variant("transformer", shared=True)


def save(model, path):
    save_tensors(parameters_of(model), path, {"config": "4f", "step": "7"})


@pytest.mark.parametrize("case", CASES, ids=str)
def test_weights_come_back_to_the_bit(case, tmp_path):
    model, other = fresh(case, seed=1).eval(), fresh(case, seed=2).eval()
    stir(model)
    save(model, tmp_path / "weights")
    tensors, facts = load_tensors(tmp_path / "weights")
    load_parameters(other, tensors, tmp_path / "weights")
    assert facts == {"config": "4f", "step": "7"}
    assert_close(other.state_dict(), model.state_dict(), **EXACT)
    batch = (*padded(sources([5, 2])), padded(targets([3, 4]))[0])
    assert_close(other(*batch), model(*batch), **EXACT)
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path):
    model, other = fresh(SHARED, seed=1), fresh(SHARED, seed=2)
    save(model, tmp_path / "weights")
    tensors, _ = load_tensors(tmp_path / "weights")
    square = [name for name, tensor in tensors.items() if tensor.shape == (19, 21)]
    assert len(square) == 1
    load_parameters(other, tensors, tmp_path / "weights")
    assert other.output.project.weight is other.source_embedding.weight
    assert_close(other.source_embedding.weight, model.target_embedding.weight, **EXACT)


def test_buffers_and_tensors_with_gaps_are_kept(tmp_path):
    layer = nn.BatchNorm1d(3)
    assert "running_mean" in parameters_of(layer)
    gaps = torch.arange(12.0).view(3, 4).T[::2]
    save_tensors({"gaps": gaps}, tmp_path / "weights", {})
    assert_close(load_tensors(tmp_path / "weights"), ({"gaps": gaps}, {}), **EXACT)


def test_a_file_cut_short_anywhere_or_with_more_at_its_end_is_refused_by_name(tmp_path):
    path = tmp_path / "weights"
    save(nn.Linear(3, 2), path)
    content = path.read_bytes()
    for damaged in (*(content[:size] for size in range(len(content))), content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is not a whole"):
            load_tensors(path)


@pytest.mark.parametrize(
    "content",
    [b"source\ttarget\n" * 9, b"PK\x03\x04" + bytes(99), bytes(99), b"\x02" + bytes(7) + b"[]"],
)
def test_a_foreign_file_is_refused_by_name(content, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is not a whole safetensors"):
        load_tensors(path)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"absent does not exist"):
        load_tensors(tmp_path / "absent")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        load_tensors(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: {**own, "bias": torch.ones(5)}, r"bias: \(5,\) in the file, \(2,\) in the"),
        (lambda own: {**own, "bias": torch.ones(2, 1)}, r"bias: \(2, 1\) in the file"),
        (lambda own: {"weight": own["weight"]}, r"1 differences: bias is missing"),
        (lambda own: {**own, "extra": torch.ones(1)}, "extra is not part of the model"),
        (lambda own: {"extra": torch.ones(1)}, "3 differences: bias is missing; extra is not"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(change, message, tmp_path):
    model = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in parameters_of(model).items()}
    given = change({name: torch.zeros_like(tensor) for name, tensor in before.items()})
    with pytest.raises(ValueError, match=message) as refusal:
        load_parameters(model, given, tmp_path / "weights")
    assert str(refusal.value).startswith(f"{tmp_path / 'weights'} does not fit")
    assert_close(parameters_of(model), before, **EXACT)


def test_of_many_differences_the_first_five_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"\(11 differences: ([^;]*; ){4}[^;]*\); it belongs"):
        load_parameters(nn.Linear(3, 2), {f"w{i}": torch.ones(1) for i in range(9)}, tmp_path)


@pytest.mark.parametrize("change", [{"layers": 2}, {"hidden": 5}, {"cell": "lstm"}])
def test_the_weights_of_another_config_are_refused(change, tmp_path):
    model = fresh(variant("rnnenc"))
    other = fresh(Case("", variant("rnnenc", **change).config))
    with pytest.raises(ValueError, match="differences"):
        load_parameters(model, parameters_of(other), tmp_path)
