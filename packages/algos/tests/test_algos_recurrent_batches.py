"""Sequences as batches: cuts, padding and order change nothing that is learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from loss_checks import loss_and_gradient
from rlmodule_algos import PPOConfig
from rlmodule_algos.batching import Evaluation, Fragment, advantage_batch, evaluate_fragment, steps_in_rows
from rlmodule_algos.frameworks import Framework
from rlmodule_algos.ppo import PPO
from rlmodule_algos.returns import gae
from rlmodule_algos.testing import RepeatPrevious
from rlmodule_core.nest import Nest, leaves, map_nest

FRAMEWORKS = [name for name, package in {"torch": "torch", "tf": "tensorflow"}.items() if find_spec(package)]
Array = npt.NDArray[Any]
Batch = dict[str, Nest]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for networks as small as these two are many times slower."""
    with Framework("torch").bridge.threads(1):
        yield


def poles(mode: AutoresetMode) -> Any:
    """Four poles that fall early or are truncated after 15 steps."""

    def make(settings: Mapping[str, Any]) -> VectorEnv[Any, Any, Any]:
        one = lambda: gym.make("CartPole-v1", max_episode_steps=15)  # noqa: E731
        return SyncVectorEnv([one] * 4, autoreset_mode=mode)

    return make


ENVS: dict[str, Any] = {
    "NextStep": poles(AutoresetMode.NEXT_STEP),
    "SameStep": poles(AutoresetMode.SAME_STEP),
    "task": lambda settings: RepeatPrevious({"num_envs": 4}),
}


def built(env: str, framework: str = "torch", **model: Any) -> PPO:
    return (
        PPOConfig()
        .environment(ENVS[env])
        .framework(framework)
        .training(
            model={"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 5, **model},
            train_batch_size=88,
            minibatch_size=44,
            use_kl_loss=True,
            vf_clip_mode="value",
        )
        .debugging(seed=3)
        .build()
    )


def sampled(algorithm: PPO, steps: int) -> Fragment:
    (fragment,) = algorithm.pool.sample(4 * steps)["default_policy"]
    return fragment


def evaluated(algorithm: PPO, fragment: Fragment) -> Evaluation:
    return evaluate_fragment(fragment, algorithm.get_module(), algorithm.framework.bridge)


def advantages_of(fragment: Fragment, said: Evaluation) -> Array:
    ended = fragment.terminated | fragment.truncated
    return gae(
        fragment.rewards,
        said.values,
        said.next_values,
        fragment.terminated,
        ended,
        fragment.mask,
        gamma=0.99,
        lambda_=0.9,
    )


# --- cutting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", ENVS)
def test_one_fragment_of_64_steps_and_four_of_16_say_the_same(env: str) -> None:
    with built(env) as one, built(env) as four:
        whole, parts = sampled(one, 64), [sampled(four, 16) for _ in range(4)]
        all_of_it = columns_of(one, whole)
        cut = [columns_of(four, part) for part in parts]
    crossing = 0
    for row in range(4):
        length = whole.lengths[row]
        joined = {name: np.concatenate([part[name][row] for part in cut]) for name in all_of_it}
        for name in ("obs", "actions", "rewards", "ended"):
            np.testing.assert_array_equal(joined[name], all_of_it[name][row])
        for name in ("values", "next_values", "logp", "action_logp"):
            np.testing.assert_allclose(joined[name], all_of_it[name][row], atol=1e-5)
        edges = np.cumsum([part.lengths[row] for part in parts])
        longer, shorter = all_of_it["gae"][row].astype(np.float64), joined["gae"]
        for t in range(length):
            edge = next(int(edge) for edge in edges if edge > t)  # the cut behind step t
            goes_on = edge < length and not joined["ended"][t:edge].any()
            missing = (0.99 * 0.9) ** (edge - t) * longer[edge] if goes_on else 0.0
            np.testing.assert_allclose(longer[t], shorter[t] + missing, atol=2e-5)
            crossing += goes_on
    assert crossing > 10


def columns_of(algorithm: PPO, fragment: Fragment) -> dict[str, list[Array]]:
    """Return the real steps of each row, with what the module says of them."""
    said = evaluated(algorithm, fragment)
    columns = {
        "obs": fragment.obs[:-1],
        "actions": fragment.actions,
        "rewards": fragment.rewards,
        "ended": fragment.terminated | fragment.truncated,
        "action_logp": fragment.action_logp,
        "values": said.values,
        "next_values": np.where(fragment.terminated, 0.0, said.next_values),
        "logp": said.logp,
        "gae": advantages_of(fragment, said),
    }
    lengths = fragment.lengths.tolist()
    return {name: [c[:n, row] for row, n in enumerate(lengths)] for name, c in columns.items()}


# --- the batch itself ---------------------------------------------------------------------------


@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("env", ENVS)
def test_a_batch_of_sequences_holds_each_step_that_counts_once_with_all_that_belongs_to_it(
    env: str, burn_in: int
) -> None:
    with built(env, burn_in=burn_in) as algorithm:
        fragment = sampled(algorithm, 23)
        said = evaluated(algorithm, fragment)
        batch = advantage_batch(fragment, said, gamma=0.99, lambda_=0.9)
    advantages = advantages_of(fragment, said)
    by_obs = {
        fragment.obs[t, row].tobytes(): (t, row)
        for row, length in enumerate(fragment.lengths.tolist())
        for t in range(length)
    }
    seen = []
    for sequence, position in np.argwhere(batch["loss_mask"]).tolist():
        assert batch["mask"][sequence, position]
        assert position >= burn_in or batch["is_first"][sequence, 0]
        if env == "task":  # its observations repeat, so only the sums can be held against it
            continue
        place = by_obs[batch["obs"][sequence, position].tobytes()]
        seen.append(place)
        expected = {
            "actions": fragment.actions[place],
            "action_logp": fragment.action_logp[place],
            "vf_preds": said.values[place],
            "advantages": advantages[place],
            "value_targets": advantages[place] + said.values[place],
        }
        assert {name: batch[name][sequence, position] for name in expected} == expected
    assert len(seen) == len(set(seen))
    counts = steps_in_rows(batch)
    assert counts is not None
    assert counts.min() > 0
    if burn_in == 0:
        assert counts.sum() == fragment.num_steps
        learned = batch["advantages"][batch["loss_mask"]]
        np.testing.assert_array_equal(np.sort(learned), np.sort(advantages[fragment.mask]))


# --- padding and order --------------------------------------------------------------------------


def padded_batch(algorithm: PPO) -> Batch:
    """A batch with padding, whose losses are not 0."""
    fragment = sampled(algorithm, 23)
    batch = advantage_batch(fragment, evaluated(algorithm, fragment), gamma=0.99, lambda_=0.9)
    assert not batch["mask"].all()
    return {**batch, "action_logp": batch["action_logp"] - np.float32(0.1)}


@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_whatever_padding_holds_loss_and_gradient_are_the_same_bit_for_bit(
    framework: str, burn_in: int
) -> None:
    with built("NextStep", framework, burn_in=burn_in) as algorithm:
        batch = padded_batch(algorithm)
        loss, gradient = loss_and_gradient(algorithm, batch)
        for bad in (np.nan, 1e30):
            other = {name: spoiled(name, column, batch, bad) for name, column in batch.items()}
            assert any((other[name] != batch[name]).any() for name in ("obs", "actions", "advantages"))
            again, gradient_again = loss_and_gradient(algorithm, other)
            np.testing.assert_array_equal(again, loss)
            for a, b in zip(gradient_again, gradient, strict=True):
                np.testing.assert_array_equal(a, b)
    assert np.isfinite(loss).all()
    assert all(np.abs(part).max() > 0 for part in gradient)


def spoiled(name: str, column: Nest, batch: Batch, bad: float) -> Nest:
    """Put something else into the padding: other actions, numbers that would spoil every sum."""
    padding = ~batch["mask"] if name in ("obs", "actions", "is_first") else ~batch["loss_mask"]

    def spoil(leaf: Array) -> Array:
        leaf = leaf.copy()
        leaf[padding] = 1 - leaf[padding] if leaf.dtype.kind == "i" else bad
        return leaf

    return column if name in ("state_in", "mask", "loss_mask") else map_nest(spoil, column)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_order_of_sequences_changes_neither_loss_nor_gradient(framework: str) -> None:
    with built("NextStep", framework) as algorithm:
        batch = padded_batch(algorithm)
        order = np.random.default_rng(0).permutation(len(batch["mask"]))
        shuffled = {name: map_nest(lambda leaf: leaf[order], column) for name, column in batch.items()}
        loss, gradient = loss_and_gradient(algorithm, batch)
        again, gradient_again = loss_and_gradient(algorithm, shuffled)
    np.testing.assert_allclose(again, loss, atol=1e-6)
    for a, b in zip(gradient_again, gradient, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_wrong_state_at_the_start_of_a_sequence_would_be_seen_in_the_loss() -> None:
    with built("NextStep") as algorithm:
        algorithm.train()
        batch = padded_batch(algorithm)
        loss, _ = loss_and_gradient(algorithm, batch)
        assert any(np.abs(leaf).max() > 0 for leaf in leaves(batch["state_in"]))
        forgetful = {**batch, "state_in": map_nest(np.zeros_like, batch["state_in"])}
        other, _ = loss_and_gradient(algorithm, forgetful)
    assert np.abs(other - loss).max() > 1e-4
