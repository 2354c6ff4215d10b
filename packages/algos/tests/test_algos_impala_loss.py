"""IMPALA's loss against a reference written from the paper. Source: https://arxiv.org/abs/1802.01561"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from loss_checks import check_gradient, check_padding
from rlmodule_algos import Impala, ImpalaConfig
from rlmodule_algos.impala.loss_torch import impala_loss
from rlmodule_core.nest import map_nest

Array = npt.NDArray[np.float64]
SETTINGS = {"vf_loss_coeff": 0.7, "entropy_coeff": 0.05}
COLUMNS = ("logp", "advantages", "values", "value_targets", "entropy")


def columns(N: int, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=N) for name in COLUMNS}


def reference(given: dict[str, Array]) -> float:
    """Section 4.2, row by row: the policy gradient's objective, the squared error and the entropy bonus."""
    rows = [
        -row["logp"] * row["advantages"]
        + SETTINGS["vf_loss_coeff"] * 0.5 * (row["value_targets"] - row["values"]) ** 2
        - SETTINGS["entropy_coeff"] * row["entropy"]
        for row in ({name: column[n] for name, column in given.items()} for n in range(len(given["logp"])))
    ]
    return float(np.mean(rows))


def torch_loss(given: dict[str, Array], mask: npt.NDArray[np.bool_] | None = None) -> Any:
    tensors: dict[str, Any] = {
        name: torch.tensor(column, requires_grad=True) for name, column in given.items()
    }
    settings: dict[str, Any] = dict(SETTINGS)
    loss = impala_loss(**tensors, mask=None if mask is None else torch.tensor(mask), **settings)
    loss.total_loss.backward()
    return loss, tensors


def test_the_loss_equals_the_papers_three_parts_row_by_row() -> None:
    given = columns(N=64, seed=0)

    loss, _ = torch_loss(given)

    np.testing.assert_allclose(loss.total_loss.item(), reference(given), rtol=1e-10)


@pytest.mark.parametrize("wrt", ["logp", "values", "entropy"])
def test_the_gradient_equals_finite_differences(wrt: str) -> None:
    check_gradient(reference, torch_loss, columns(N=16, seed=1), wrt)


def test_padding_that_holds_nan_changes_neither_loss_nor_gradient() -> None:
    check_padding(torch_loss, columns(N=12, seed=2), real=7)


def test_the_parts_that_are_reported_make_the_whole() -> None:
    loss, _ = torch_loss(columns(N=32, seed=6))
    parts = {name: part.item() for name, part in loss._asdict().items()}

    whole = parts["policy_loss"] + 0.7 * parts["vf_loss"] - 0.05 * parts["entropy"]
    assert parts["total_loss"] == pytest.approx(whole)


def test_columns_of_different_shapes_are_refused_and_never_broadcast() -> None:
    given = columns(N=8, seed=5)
    given["values"] = given["values"][:, None]

    with pytest.raises(ValueError, match=r"values \[8, 1\]"):
        torch_loss(given)


def test_at_lag_0_and_lambda_1_the_gradient_is_that_of_n_step_actor_critic() -> None:
    """Advantage actor-critic, written out: the discounted rewards up to the cut, then the value there."""
    config = ImpalaConfig().environment("CartPole-v1").debugging(seed=0)
    config.training(train_batch_size=128, model={"fcnet_hiddens": [8]}, gamma=0.9, grad_clip=None)
    config.env_runners(num_envs_per_env_runner=8, rollout_fragment_length=16)
    with config.build() as algorithm:
        assert isinstance(algorithm, Impala)
        batch = algorithm.collect()
        (fragment,) = batch.fragments["default_policy"]
        module: Any = algorithm.get_module()
        loss = actor_critic_loss(module, fragment, gamma=0.9, vf=0.5, entropy=0.01)
        expected = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)

        learned = algorithm.learn(batch)["default_policy"]

        actual = [parameter.grad for parameter in module.parameters()]  # as the step left it
        assert learned["total_loss"] == pytest.approx(loss.item(), rel=1e-5)
        for mine, theirs in zip(actual, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def actor_critic_loss(module: Any, fragment: Any, *, gamma: float, vf: float, entropy: float) -> torch.Tensor:
    """A2C's loss over a fragment, one step at a time; nothing of V-trace is in it."""
    parts = []
    for row, length in enumerate(fragment.lengths):
        ends = {int(t): k for k, (t, b) in enumerate(fragment.final_index) if b == row}
        obs = map_nest(lambda leaf: torch.from_numpy(leaf[: length + 1, row].copy()), fragment.obs)  # noqa: B023
        output = module.forward_train({"obs": obs})
        values = output["vf_preds"]
        following = float(values[length].detach())
        returns = [0.0] * int(length)
        for t in range(int(length) - 1, -1, -1):
            if t in ends:
                final = torch.from_numpy(fragment.final_obs[ends[t]][None])
                after = float(module.forward_train({"obs": final})["vf_preds"].detach())
                following = 0.0 if fragment.terminated[t, row] else after
            returns[t] = following = float(fragment.rewards[t, row]) + gamma * following
        policy = output["action_dist"]
        actions = np.concatenate([fragment.actions[:length, row], fragment.actions[:1, row]])
        logp, spread = policy.logp(torch.from_numpy(actions)), policy.entropy()
        for t in range(int(length)):
            advantage = returns[t] - values[t].detach()
            parts.append(
                -logp[t] * advantage + vf * 0.5 * (returns[t] - values[t]) ** 2 - entropy * spread[t]
            )
    return torch.stack(parts).mean()
