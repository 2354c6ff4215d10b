"""APPO's loss against a reference written from IMPACT and PPO.

Sources: https://arxiv.org/abs/1912.00167, https://arxiv.org/abs/1707.06347
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from loss_checks import check_gradient, check_padding
from rlmodule_algos.appo.loss_torch import appo_loss
from rlmodule_algos.impala.loss_torch import impala_loss

Array = npt.NDArray[np.float64]
SETTINGS: dict[str, Any] = {
    "clip_param": 0.2,
    "target_worker_clipping": 1.1,
    "vf_loss_coeff": 0.7,
    "entropy_coeff": 0.05,
    "kl_coeff": 0.4,
}
COLUMNS = ("logp", "old_logp", "target_logp", "advantages", "values", "value_targets", "entropy", "kl")


def columns(N: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    given = {name: rng.normal(size=N) for name in COLUMNS}
    for name in ("logp", "target_logp"):
        given[name] = given["old_logp"] + rng.normal(scale=0.3, size=N)  # on both sides of every bound
    given["kl"] = np.abs(given["kl"])
    return given


def reference(given: dict[str, Array], **changed: float) -> float:
    """The clipped surrogate with IMPACT's ratio, row by row."""
    settings = SETTINGS | changed
    rows = []
    for n in range(len(given["logp"])):
        row = {name: column[n] for name, column in given.items()}
        pi, mu, target = (np.exp(row[name]) for name in ("logp", "old_logp", "target_logp"))
        ratio = min(mu / target, settings["target_worker_clipping"]) * pi / mu
        clipped = min(max(ratio, 1 - settings["clip_param"]), 1 + settings["clip_param"])
        surrogate = min(ratio * row["advantages"], clipped * row["advantages"])
        error = 0.5 * (row["values"] - row["value_targets"]) ** 2
        objective = surrogate - settings["vf_loss_coeff"] * error + settings["entropy_coeff"] * row["entropy"]
        rows.append(-objective + settings["kl_coeff"] * row["kl"])
    return float(np.mean(rows))


def torch_loss(given: dict[str, Any], mask: npt.NDArray[np.bool_] | None = None, **changed: Any) -> Any:
    tensors: dict[str, Any] = {
        name: None if column is None else torch.tensor(column, requires_grad=True)
        for name, column in given.items()
    }
    row_mask = None if mask is None else torch.tensor(mask)
    loss = appo_loss(**tensors, mask=row_mask, **{**SETTINGS, **changed})
    loss.total_loss.backward()
    return loss, tensors


@pytest.mark.parametrize("rho", [1.0, 1.1, 100.0])
def test_the_loss_equals_the_clipped_objective_row_by_row(rho: float) -> None:
    given = columns(N=64, seed=0)

    loss, _ = torch_loss(given, target_worker_clipping=rho)

    expected = reference(given, target_worker_clipping=rho)
    np.testing.assert_allclose(loss.total_loss.item(), expected, rtol=1e-10)


@pytest.mark.parametrize("wrt", ["logp", "values", "entropy", "kl"])
def test_the_gradient_equals_finite_differences(wrt: str) -> None:
    check_gradient(reference, torch_loss, columns(N=16, seed=1), wrt)


def test_padding_that_holds_nan_changes_neither_loss_nor_gradient() -> None:
    check_padding(torch_loss, columns(N=12, seed=2), real=7)


def test_the_parts_that_are_reported_make_the_whole() -> None:
    loss, _ = torch_loss(columns(N=32, seed=6))
    parts = {name: part.item() for name, part in loss._asdict().items()}

    whole = parts["policy_loss"] + 0.7 * parts["vf_loss"] - 0.05 * parts["entropy"] + 0.4 * parts["mean_kl"]
    assert parts["total_loss"] == pytest.approx(whole)
    assert parts["vf_loss"] > 0 < parts["mean_kl"]


def test_without_a_penalty_the_kl_is_an_estimate_from_the_ratio_of_what_learns_to_the_target() -> None:
    given = columns(N=32, seed=7)
    loss, _ = torch_loss({**given, "kl": None})

    ratio = np.exp(given["logp"] - given["target_logp"])
    assert loss.mean_kl.item() == pytest.approx(np.mean(ratio - 1.0 - np.log(ratio)))


def test_where_the_three_policies_are_one_the_gradient_is_impalas() -> None:
    given = columns(N=32, seed=3)
    given["target_logp"] = given["logp"] = given["old_logp"]
    loss, tensors = torch_loss({**given, "kl": None})
    others: dict[str, Any] = {name: torch.tensor(given[name], requires_grad=True) for name in COLUMNS}
    common = {name: others[name] for name in ("logp", "advantages", "values", "value_targets", "entropy")}
    impalas: Any = impala_loss(**common, mask=None, vf_loss_coeff=0.7, entropy_coeff=0.05)
    impalas.total_loss.backward()

    for name in ("logp", "values", "entropy"):
        np.testing.assert_allclose(tensors[name].grad.numpy(), others[name].grad.numpy(), rtol=1e-12)
    assert loss.vf_loss.item() == pytest.approx(impalas.vf_loss.item())
    assert loss.clip_fraction.item() == 0.0
    assert loss.mean_kl.item() == 0.0


def test_the_worker_ratio_is_cut_at_its_bound_and_nowhere_else() -> None:
    """mu/pi_T of 8 with pi = pi_T: unbounded the ratio is 1, bounded at 2 it is a quarter."""
    one = np.zeros(1)
    given = {**dict.fromkeys(COLUMNS, one), "old_logp": one + np.log(8.0), "advantages": one + 1.0}
    for bound, expected in ((100.0, 1.0), (2.0, 0.25), (1.0, 0.125)):
        loss, tensors = torch_loss(given, target_worker_clipping=bound)

        assert -loss.policy_loss.item() == pytest.approx(expected)
        assert tensors["logp"].grad.item() == pytest.approx(-expected)


@pytest.mark.parametrize("advantage", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("target", [-200.0, 0.0, 200.0])
@pytest.mark.parametrize("acted", [-200.0, 0.0, 200.0])
def test_policies_that_are_very_far_apart_give_no_nan(acted: float, target: float, advantage: float) -> None:
    """Also where the ratio of what learns to the target is one that exp cannot hold."""
    one = np.ones(1, np.float32)
    given = {**dict.fromkeys(COLUMNS, 0 * one), "old_logp": acted * one, "target_logp": target * one}

    loss, tensors = torch_loss({**given, "advantages": advantage * one, "kl": None})

    assert np.isfinite([field.item() for field in loss]).all()
    assert np.isfinite(tensors["logp"].grad.numpy()).all()


def test_beyond_the_clip_in_the_advantages_direction_nothing_is_learned() -> None:
    given = columns(N=4, seed=4)
    given["target_logp"] = given["old_logp"]
    given["advantages"] = np.array([1.0, -1.0, 1.0, -1.0])
    given["logp"] = given["old_logp"] + np.array([0.5, -0.5, -0.5, 0.5])  # ratios 1.65, .61, .61, 1.65
    loss, tensors = torch_loss(given)

    gradient = tensors["logp"].grad.numpy()
    assert not gradient[:2].any()  # already better than the clip allows
    assert gradient[2:].all()  # still to be undone
    assert loss.clip_fraction.item() == 1.0


@pytest.mark.parametrize("name", ["values", "target_logp", "advantages"])
def test_columns_of_different_shapes_are_refused_and_never_broadcast(name: str) -> None:
    given = columns(N=8, seed=5)
    given[name] = given[name][:, None]

    with pytest.raises(ValueError, match=name + r" \[8, 1\]"):
        torch_loss(given)
