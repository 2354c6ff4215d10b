"""Policies of equal structure that act in one pass, each row of a batch with its own."""

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    DenseLayer,
    NumpyCategorical,
    NumpyDiagGaussian,
    NumpyLayers,
    NumpyPolicies,
    NumpyPolicy,
    RLModuleConfig,
    can_act_together,
    distribution_config,
    numpy_distribution,
    numpy_form_of,
    numpy_policies,
)
from rlmodule_core.numpy_layers import ACTIVATIONS, RunningNorm
from rlmodule_specs import SpecError

OBS, ACT = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)
CONFIG = RLModuleConfig(observation_space=OBS, action_space=ACT)


def layers_of(seed: int, activation: str = "tanh", hidden: int = 5) -> NumpyLayers:
    rng = np.random.default_rng(seed)

    def layer(outputs: int, inputs: int, activation: str) -> DenseLayer:
        weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in ((outputs, inputs), outputs))
        return DenseLayer(weight, bias, activation)

    return NumpyLayers((layer(hidden, 3, activation), layer(2, hidden, "linear")))


def norm_of(seed: int, *, count: int = 5, clip: float = 1.5, epsilon: float = 1e-3) -> RunningNorm:
    rng = np.random.default_rng(seed)
    mean, var = rng.normal(size=3).astype(np.float32), rng.random(3).astype(np.float32)
    return RunningNorm(mean, var, np.array(count), clip, epsilon)


def policy(layers: NumpyLayers, config: RLModuleConfig | None = CONFIG, make: Any = None) -> NumpyPolicy:
    return NumpyPolicy(config, layers, make or numpy_distribution(distribution_config(ACT)))


def gaussian(seed: int) -> NumpyPolicy:
    constant = np.random.default_rng(seed).normal(size=2).astype(np.float32)
    return policy(layers_of(seed).with_constant(constant), make=NumpyDiagGaussian)


FLEETS = {
    **{name: [policy(layers_of(seed, name)) for seed in range(5)] for name in ACTIVATIONS},
    "a constant": [gaussian(seed) for seed in range(5)],
    "norms": [policy(layers_of(seed).behind(norm_of(seed, count=seed % 2))) for seed in range(5)],
}


def inputs_one_by_one(policies: Sequence[NumpyPolicy], obs: Any, policy_of: Any) -> Any:
    said = [each.forward_exploration({"obs": obs})["action_dist"].inputs for each in policies]
    return np.stack([said[number][row] for row, number in enumerate(policy_of)])


ROWS = {
    "even": np.arange(20) // 4,  # all have as many rows, one after the other
    "mixed": np.array([4, 0, 2, 2, 1, 3, 0, 0, 4]),
    "some": np.array([3, 1, 3, 3]),  # some have none
    "one": np.array([2]),
    "uneven": np.where(np.arange(300) % 40 == 0, np.arange(300) // 40 % 5, 3),  # one has most: all act apart
}


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("kind", FLEETS)
def test_each_row_is_told_what_its_own_policy_says_of_it(kind: str, rows: str) -> None:
    policy_of = ROWS[rows]
    obs = np.random.default_rng(9).normal(scale=2.0, size=(len(policy_of), 3)).astype(np.float32)
    before = obs.copy()

    with np.errstate(all="raise", under="ignore"):
        actual = NumpyPolicies(FLEETS[kind]).action_dist(obs, policy_of)

    np.testing.assert_allclose(actual.inputs, inputs_one_by_one(FLEETS[kind], obs, policy_of), atol=2e-6)
    np.testing.assert_array_equal(obs, before)


@pytest.mark.parametrize("rows", ROWS)
def test_large_policies_say_it_each_in_a_pass_of_its_own(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_policies, "SMALL", 5 * 3 + 2 * 5 - 1)
    policies, policy_of = FLEETS["tanh"], ROWS[rows]
    obs = np.random.default_rng(9).normal(size=(len(policy_of), 3)).astype(np.float32)

    together = NumpyPolicies(policies)

    assert together._layers is None
    actual = together.action_dist(obs, policy_of)
    np.testing.assert_allclose(actual.inputs, inputs_one_by_one(policies, obs, policy_of), atol=2e-6)


def test_the_distribution_is_the_one_of_the_policies() -> None:
    space = spaces.Discrete(2, start=7)
    make = numpy_distribution(distribution_config(space))
    policies = [policy(layers_of(seed), make=make) for seed in range(2)]
    found = NumpyPolicies(policies).action_dist(np.zeros((9, 3), np.float32), np.arange(9) % 2)

    assert isinstance(found, NumpyCategorical)
    assert set(found.sample(np.random.default_rng(0)).tolist()) == {7, 8}


def test_they_act_with_the_weights_that_they_had_together() -> None:
    policies = [policy(layers_of(seed)) for seed in range(2)]
    together = NumpyPolicies(policies)
    obs, policy_of = np.ones((4, 3), np.float32), np.array([0, 1, 1, 0])
    before = together.action_dist(obs, policy_of).inputs
    policies[1].set_state(policy(layers_of(7)).get_state())

    np.testing.assert_array_equal(together.action_dist(obs, policy_of).inputs, before)
    now = NumpyPolicies(policies).action_dist(obs, policy_of).inputs
    np.testing.assert_allclose(now, inputs_one_by_one(policies, obs, policy_of), atol=2e-6)
    assert not np.allclose(now[1:3], before[1:3])


def test_observations_that_the_policies_would_refuse_are_refused() -> None:
    together = NumpyPolicies([policy(layers_of(seed)) for seed in range(2)])
    with pytest.raises(
        SpecError, match=r"NumpyPolicy\.forward_exploration: .*\n.*expected numpy \[\.\.\., 3\]"
    ):
        together.action_dist(np.zeros((2, 4), np.float32), np.zeros(2, np.int64))


class Mine(NumpyPolicy):
    """Might do anything."""


NORMALISED = policy(layers_of(0).behind(norm_of(0)))
OTHERS = {
    "more units": (policy(layers_of(0)), policy(layers_of(1, hidden=6))),
    "another activation": (policy(layers_of(0)), policy(layers_of(1, "relu"))),
    "a norm": (policy(layers_of(0)), NORMALISED),
    "another clip": (NORMALISED, policy(layers_of(1).behind(norm_of(1, clip=2.0)))),
    "another epsilon": (NORMALISED, policy(layers_of(1).behind(norm_of(1, epsilon=0.1)))),
    "a constant": (policy(layers_of(0), make=NumpyDiagGaussian), gaussian(1)),
    "other actions": (
        policy(layers_of(0)),
        policy(layers_of(1), make=numpy_distribution(distribution_config(spaces.Discrete(2, start=1)))),
    ),
    "other observations": (
        policy(layers_of(0)),
        policy(layers_of(1), replace(CONFIG, observation_space=spaces.Box(-1, 1, (1, 3)))),
    ),
    "a class of one's own": (
        policy(layers_of(0)),
        Mine(CONFIG, layers_of(1), policy(layers_of(0))._make_distribution),
    ),
    "two of a class of one's own": tuple(
        Mine(CONFIG, layers_of(seed), policy(layers_of(0))._make_distribution) for seed in range(2)
    ),
}


def test_policies_that_differ_in_their_weights_alone_can_act_together() -> None:
    equal_spaces = RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2))
    assert can_act_together(policy(layers_of(0)), policy(layers_of(1), equal_spaces))
    assert can_act_together(NORMALISED, policy(layers_of(1).behind(norm_of(1, count=0))))


@pytest.mark.parametrize("kind", OTHERS)
def test_policies_that_differ_in_more_cannot_act_together(kind: str) -> None:
    one, other = OTHERS[kind]
    assert not can_act_together(one, other)
    assert not can_act_together(other, one)


def test_a_numpy_form_that_is_made_again_has_the_checks_of_the_first_and_the_layers_of_now() -> None:
    owner = policy(layers_of(0))
    one, other = (numpy_form_of(owner, layers_of(seed), distribution_config(ACT)) for seed in (1, 2))
    obs = np.ones((2, 3), np.float32)

    assert one._check_exploration is other._check_exploration
    for form, seed in ((one, 1), (other, 2)):
        said = policy(layers_of(seed)).forward_exploration({"obs": obs})["action_dist"].inputs
        np.testing.assert_array_equal(form.forward_exploration({"obs": obs})["action_dist"].inputs, said)
    with pytest.raises(SpecError):
        other.forward_exploration({"obs": obs[:, :2]})


def test_a_numpy_form_keeps_neither_the_module_nor_older_weights_alive() -> None:
    owner, layers = policy(layers_of(0)), layers_of(1)
    weight = weakref.ref(layers.layers[0].weight)
    form: NumpyPolicy | None = numpy_form_of(owner, layers, distribution_config(ACT))
    del layers
    assert form is not None
    assert weight() is form.layers.layers[0].weight
    known, form = weakref.ref(owner), None
    gc.collect()
    assert weight() is None
    del owner
    gc.collect()
    assert known() is None
