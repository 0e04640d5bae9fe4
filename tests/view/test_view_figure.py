"""A figure binds labels to numbers, or refuses."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from qkv.view import Figure, show


def test_a_label_too_few_or_too_many_is_refused_and_both_counts_are_named():
    weights = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"2 rows and 3 columns.* 3 target labels and 3 source"):
        Figure(weights, ["a", "b", "c"], ["x", "y", "z"], "")
    with pytest.raises(ValueError, match=r"2 rows and 3 columns.* 2 target labels and 2 source"):
        Figure(weights, ["a", "b"], ["x", "y"], "")


def test_a_transposed_matrix_is_refused():
    with pytest.raises(ValueError, match="3 rows and 2 columns"):
        Figure(np.zeros((3, 2)), ["a", "b"], ["x", "y", "z"], "")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.01, 1.01])
def test_a_weight_outside_0_to_1_is_refused_and_its_place_is_named(bad):
    weights = np.zeros((2, 3))
    weights[1, 2] = bad
    with pytest.raises(ValueError, match=r"weights\[1, 2\] is .*between 0 and 1"):
        Figure(weights, ["a", "b"], ["x", "y", "z"], "")


def test_a_weight_that_exceeds_1_by_rounding_is_accepted():
    # 80 summands of float32, each rounded by at most half of eps = 1.2e-7
    Figure([[1 + 40 * np.finfo(np.float32).eps]], ["a"], ["x"], "")


def test_a_stack_of_heads_is_refused_with_what_to_do():
    with pytest.raises(
        ValueError, match=r"shape \(8, 2, 3\).*choose one sentence, layer and head"
    ):
        Figure(np.zeros((8, 2, 3)), ["a", "b"], ["x", "y", "z"], "")


def test_a_string_in_place_of_a_list_of_labels_is_refused():
    with pytest.raises(ValueError, match="source is one string, 'xyz'"):
        Figure(np.zeros((1, 3)), ["a"], "xyz", "")


def test_ids_in_place_of_tokens_are_refused():
    with pytest.raises(ValueError, match="source labels must be strings, got 7"):
        Figure(np.zeros((1, 2)), ["a"], [7, 8], "")  # type: ignore[list-item]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_tensor_with_gradient_is_taken_in_every_precision_without_loss(dtype):
    tensor = torch.tensor([[0.1, 0.9]], dtype=dtype, requires_grad=True)
    figure = show(tensor, ["x", "y"], ["a"])
    np.testing.assert_array_equal(figure.weights, tensor.detach().double().numpy())


def test_a_number_reads_back_as_exactly_its_weight():
    single, double = np.float32(0.1), np.float64(0.1)
    assert Figure(np.array([[single]]), ["a"], ["x"], "").number(0, 0) == "0.1"
    assert Figure(np.array([[double]]), ["a"], ["x"], "").number(0, 0) == "0.1"
    third = Figure(np.array([[1 / 3]], np.float32), ["a"], ["x"], "").number(0, 0)
    assert np.float32(third) == np.float32(1 / 3)


def test_a_figure_cannot_be_changed_nor_does_it_change_with_its_origin():
    origin = np.array([[0.5, 0.5]])
    figure = Figure(origin, ["a"], ["x", "y"], "")
    origin[0, 0] = 0.9
    assert figure.weights[0, 0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        figure.weights[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        figure.title = "other"  # type: ignore[misc]


def test_show_takes_source_before_target_and_prints_as_the_terminal_drawing():
    figure = show([[1.0, 0.0]], source=["x", "y"], target=["a"], title="One row")
    assert figure.target == ("a",)
    assert figure.source == ("x", "y")
    assert "One row" in str(figure)
    assert "██··" in str(figure)
    assert repr(figure) == "Figure('One row', 1 targets x 2 sources)"


def test_importing_the_viewer_imports_neither_torch_nor_resvg():
    code = "import sys, qkv.view; print({'torch', 'resvg_py'} & set(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
