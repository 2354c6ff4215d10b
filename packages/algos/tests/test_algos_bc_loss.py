"""Behaviour cloning's loss against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlmodule_algos.bc.loss_torch import bc_loss

Array = npt.NDArray[np.float64]


def columns(N: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {"logp": -np.abs(rng.normal(size=N)), "entropy": np.abs(rng.normal(size=N))}


def torch_loss(given: dict[str, Array], mask: npt.NDArray[np.bool_] | None = None) -> Any:
    tensors = {name: torch.tensor(column, requires_grad=True) for name, column in given.items()}
    return bc_loss(**tensors, mask=None if mask is None else torch.tensor(mask)), tensors


@pytest.mark.parametrize("shape", [(64,), (8, 8)])
def test_the_loss_is_the_mean_of_minus_log_pi(shape: tuple[int, ...]) -> None:
    given = {name: column.reshape(shape) for name, column in columns(N=64, seed=0).items()}

    loss, _ = torch_loss(given)

    np.testing.assert_allclose(loss.total_loss.item(), -given["logp"].mean(), rtol=1e-12)
    np.testing.assert_allclose(loss.logp.item(), given["logp"].mean(), rtol=1e-12)
    np.testing.assert_allclose(loss.entropy.item(), given["entropy"].mean(), rtol=1e-12)


def test_every_real_row_pulls_equally_and_the_entropy_does_not() -> None:
    mask = np.arange(10) % 3 != 0
    loss, tensors = torch_loss(columns(N=10, seed=1), mask)
    loss.total_loss.backward()

    np.testing.assert_allclose(tensors["logp"].grad.numpy(), np.where(mask, -1 / mask.sum(), 0.0), rtol=1e-12)
    assert tensors["entropy"].grad is None
    assert not loss.logp.requires_grad
    assert not loss.entropy.requires_grad


def test_padding_that_holds_nan_changes_neither_loss_nor_gradient() -> None:
    given = columns(N=12, seed=2)
    mask = np.arange(12) < 7
    short, _ = torch_loss({name: column[:7] for name, column in given.items()})

    long, tensors = torch_loss({name: np.where(mask, column, np.nan) for name, column in given.items()}, mask)
    long.total_loss.backward()

    for part, expected in zip(long, short, strict=True):
        np.testing.assert_allclose(part.item(), expected.item(), rtol=1e-12)
    assert np.isfinite(tensors["logp"].grad.numpy()).all()
    assert not tensors["logp"].grad.numpy()[7:].any()


def test_a_step_downhill_raises_the_likelihood_of_the_recorded_actions() -> None:
    logits = torch.zeros(3, requires_grad=True)
    actions = torch.tensor([2, 2, 0, 2])

    for _ in range(200):
        policy = torch.distributions.Categorical(logits=logits.expand(4, 3))
        loss = bc_loss(logp=policy.log_prob(actions), entropy=policy.entropy(), mask=None)
        (gradient,) = torch.autograd.grad(loss.total_loss, logits)
        logits = (logits - gradient).detach().requires_grad_()

    learned = torch.softmax(logits, dim=0).detach().numpy()
    np.testing.assert_allclose(learned, [0.25, 0.0, 0.75], atol=0.01)  # the recorded frequencies
    np.testing.assert_allclose(
        loss.total_loss.item(), -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)), atol=0.01
    )


def test_columns_of_different_shapes_are_refused_and_never_broadcast() -> None:
    given = columns(N=8, seed=5)
    given["entropy"] = given["entropy"][:, None]

    with pytest.raises(ValueError, match=r"entropy \[8, 1\]"):
        torch_loss(given)
