"""PPO's loss against a reference written from the paper. Source: https://arxiv.org/abs/1707.06347"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from loss_checks import check_gradient, check_padding
from rlmodule_algos.learning import adapted_kl_coefficient
from rlmodule_algos.ppo.loss_torch import ppo_loss, value_error

Array = npt.NDArray[np.float64]
SETTINGS: dict[str, Any] = {
    "clip_param": 0.2,
    "vf_clip_mode": "none",
    "vf_clip_param": 0.3,
    "vf_loss_coeff": 0.7,
    "entropy_coeff": 0.05,
    "kl_coeff": 0.4,
}
COLUMNS = ("logp", "old_logp", "advantages", "values", "old_values", "value_targets", "entropy", "kl")


def columns(N: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    given = {name: rng.normal(size=N) for name in COLUMNS}
    given["logp"] = given["old_logp"] + rng.normal(scale=0.3, size=N)  # ratios on both sides of the clip
    given["kl"] = np.abs(given["kl"])
    return given


def reference(given: dict[str, Array], mode: str = "none", **settings: float) -> float:
    """(7), (8) and (9) row by row."""
    chosen = SETTINGS | settings
    rows = []
    for n in range(len(given["logp"])):
        row = {name: column[n] for name, column in given.items()}
        ratio = np.exp(row["logp"] - row["old_logp"])
        clipped = min(max(ratio, 1 - chosen["clip_param"]), 1 + chosen["clip_param"])
        surrogate = min(ratio * row["advantages"], clipped * row["advantages"])
        error = (row["values"] - row["value_targets"]) ** 2
        if mode == "error":
            error = min(error, chosen["vf_clip_param"])
        if mode == "value":
            limit = chosen["vf_clip_param"]
            near = row["old_values"] + min(max(row["values"] - row["old_values"], -limit), limit)
            error = max(error, (near - row["value_targets"]) ** 2)
        objective = surrogate - chosen["vf_loss_coeff"] * error + chosen["entropy_coeff"] * row["entropy"]
        rows.append(-objective + chosen["kl_coeff"] * row["kl"])
    return float(np.mean(rows))


def torch_loss(given: dict[str, Array], mask: npt.NDArray[np.bool_] | None = None, **settings: Any) -> Any:
    tensors: dict[str, Any] = {
        name: torch.tensor(column, requires_grad=True) for name, column in given.items()
    }
    row_mask = None if mask is None else torch.tensor(mask)
    loss = ppo_loss(**tensors, mask=row_mask, **{**SETTINGS, **settings})
    loss.total_loss.backward()
    return loss, tensors


@pytest.mark.parametrize("mode", ["none", "error", "value"])
def test_the_loss_equals_the_papers_objective_row_by_row(mode: str) -> None:
    given = columns(N=64, seed=0)

    loss, _ = torch_loss(given, vf_clip_mode=mode)

    np.testing.assert_allclose(loss.total_loss.item(), reference(given, mode), rtol=1e-10)


@pytest.mark.parametrize("wrt", ["logp", "values", "entropy", "kl"])
def test_the_gradient_equals_finite_differences(wrt: str) -> None:
    check_gradient(reference, torch_loss, columns(N=16, seed=1), wrt)


def test_padding_that_holds_nan_changes_neither_loss_nor_gradient() -> None:
    check_padding(torch_loss, columns(N=12, seed=2), real=7)


def test_beyond_the_clip_in_the_advantages_direction_nothing_is_learned() -> None:
    given = columns(N=4, seed=3)
    given["advantages"] = np.array([1.0, -1.0, 1.0, -1.0])
    given["logp"] = given["old_logp"] + np.array([0.5, -0.5, -0.5, 0.5])  # ratios 1.65, .61, .61, 1.65
    loss, tensors = torch_loss(given)

    gradient = tensors["logp"].grad.numpy()
    assert not gradient[:2].any()  # already better than the clip allows
    assert gradient[2:].all()  # still to be undone
    assert loss.clip_fraction.item() == 1.0


def test_at_ratio_one_the_clip_fraction_and_the_kl_estimate_are_zero() -> None:
    given = columns(N=8, seed=4)
    given["logp"] = given["old_logp"].copy()
    tensors: dict[str, Any] = {name: torch.tensor(column) for name, column in given.items()}
    tensors["kl"] = None

    loss = ppo_loss(**tensors, mask=None, **SETTINGS)

    assert loss.clip_fraction.item() == 0.0
    assert loss.mean_kl.item() == 0.0


@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("acted", [-200.0, 200.0])
def test_policies_that_are_very_far_apart_give_no_nan(acted: float, advantage: float) -> None:
    one = torch.ones(1)
    tensors: dict[str, Any] = {**dict.fromkeys(COLUMNS, 0 * one), "old_logp": acted * one, "kl": None}
    tensors |= {"advantages": advantage * one, "logp": torch.zeros(1, requires_grad=True)}

    loss = ppo_loss(**tensors, mask=None, **SETTINGS)
    loss.total_loss.backward()

    assert torch.isfinite(torch.stack([*map(torch.Tensor.detach, loss)])).all()
    assert torch.isfinite(tensors["logp"].grad).all()


def test_columns_of_different_shapes_are_refused_and_never_broadcast() -> None:
    given = columns(N=8, seed=5)
    given["values"] = given["values"][:, None]

    with pytest.raises(ValueError, match=r"values \[8, 1\]"):
        torch_loss(given)


def test_a_clipped_squared_error_has_no_gradient_where_it_is_large() -> None:
    values = torch.tensor([0.0, 0.0], requires_grad=True)
    error = value_error(values, torch.zeros(2), torch.tensor([0.1, 9.0]), "error", 1.0)
    error.sum().backward()

    assert values.grad is not None
    np.testing.assert_allclose(values.grad.numpy(), [-0.2, 0.0], rtol=1e-6)


@pytest.mark.parametrize(("mean_kl", "expected"), [(0.0301, 0.4), (0.02, 0.2), (0.0132, 0.1)])
def test_the_kl_coefficient_doubles_above_and_halves_below_the_papers_bounds(
    mean_kl: float, expected: float
) -> None:
    assert adapted_kl_coefficient(0.2, mean_kl=mean_kl, target=0.02) == expected


@pytest.mark.parametrize(("mean_kl", "back"), [(0.0, 1.0), (1.0, 0.0)])
def test_however_often_the_kl_coefficient_halves_or_doubles_it_finds_its_way_back(
    mean_kl: float, back: float
) -> None:
    coefficient = 0.2
    for _ in range(2000):
        coefficient = adapted_kl_coefficient(coefficient, mean_kl=mean_kl, target=0.02)

    assert 0.0 < np.float32(coefficient) < np.inf
    for _ in range(20):
        coefficient = adapted_kl_coefficient(coefficient, mean_kl=back, target=0.02)
    assert coefficient == pytest.approx(1.0, rel=0.1)


def test_a_kl_coefficient_of_0_grows_once_the_policy_moves_too_far() -> None:
    assert adapted_kl_coefficient(0.0, mean_kl=1.0, target=0.02) > 0.0
