"""The policy in NumPy, its layers, their initial weights, and states as trees and flat names."""

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    DenseLayer,
    DistributionConfig,
    NumpyLayers,
    NumpyPolicy,
    RLModuleConfig,
    initial_weights_from,
    numpy_bridge,
    numpy_distribution,
)
from rlmodule_core.initializers import current_generator
from rlmodule_core.nest import leaves, leaves_with_paths, map_nest, unflatten
from rlmodule_core.numpy_layers import ACTIVATIONS
from rlmodule_core.state import check_same_state, flatten_state, nest_state
from rlmodule_specs import SpecError

BY_HAND = {
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "linear": lambda x: x,
    "relu": lambda x: max(x, 0.0),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


def layer(outputs: int, inputs: int, activation: str = "tanh", seed: int = 0) -> DenseLayer:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(outputs, inputs)).astype(np.float32)
    return DenseLayer(weight, rng.normal(size=outputs).astype(np.float32), activation)


def policy(constant: bool = False) -> NumpyPolicy:
    space = spaces.Box(-1, 1, (2,))
    outputs = 2 if constant else 4
    layers = NumpyLayers((layer(5, 3), layer(outputs, 5, "linear", seed=1)))
    if constant:
        layers = layers.with_constant(np.array([0.1, -0.2], np.float32))
    config = RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=space)
    make = numpy_distribution(DistributionConfig(kind="DiagGaussian", space=space, input_dim=4))
    return NumpyPolicy(config, layers, make)


def outputs_of(module: NumpyPolicy, obs: Any) -> Any:
    return module.forward_inference({"obs": obs})["action_dist"].inputs


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("leading", [(), (4,), (4, 2)])
def test_a_dense_layer_is_the_sum_over_its_inputs(activation: str, leading: tuple[int, ...]) -> None:
    dense = layer(2, 3, activation)
    x = np.random.default_rng(5).normal(size=(*leading, 3)).astype(np.float32)

    actual = NumpyLayers((dense,)).compile()(x)

    assert actual.shape == (*leading, 2)
    for row in np.ndindex(*leading):
        for i in range(2):
            total = sum(float(dense.weight[i, j]) * float(x[row][j]) for j in range(3)) + float(dense.bias[i])
            assert actual[row][i] == pytest.approx(BY_HAND[activation](total), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_extreme_inputs_overflow_nowhere_and_the_observation_is_not_written_to(activation: str) -> None:
    dense = DenseLayer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), activation)
    x = np.array([[1e4, -1e4]], np.float32)

    with np.errstate(all="raise", under="ignore"):
        y = NumpyLayers((dense,)).compile()(x)

    assert np.isfinite(y).all()
    assert x.tolist() == [[1e4, -1e4]]


def test_observations_of_any_number_type_are_taken_as_float32() -> None:
    forward = NumpyLayers((layer(2, 3),)).compile()
    for dtype in (np.float64, np.int64, np.uint8, np.bool_):
        result = forward(np.ones((1, 3), dtype))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, forward(np.ones((1, 3), np.float32)))


def test_a_constant_stands_beside_the_outputs_of_every_row() -> None:
    inputs = outputs_of(policy(constant=True), np.zeros((4, 2, 3), np.float32))
    assert inputs.shape == (4, 2, 4)
    np.testing.assert_array_equal(
        inputs[..., 2:], np.broadcast_to(np.array([0.1, -0.2], np.float32), (4, 2, 2))
    )


def test_only_known_activations_are_supported_and_layers_join_in_order() -> None:
    first, second = layer(5, 3), layer(2, 5, "gelu")
    joined = NumpyLayers((first,)).then(NumpyLayers((second,), np.zeros(2, np.float32)))

    assert joined.layers == (first, second)
    assert joined.constant is not None
    assert not joined.supported
    assert NumpyLayers((first,)).supported


@pytest.mark.parametrize("constant", [False, True])
def test_a_policys_state_round_trips_and_is_a_copy(constant: bool) -> None:
    module, other = policy(constant), policy(constant)
    obs = np.ones((2, 3), np.float32)
    before = outputs_of(module, obs).copy()
    state = module.get_state()

    module.set_state(map_nest(lambda array: array * 0, state))
    assert not outputs_of(module, obs).any()
    module.set_state(state)
    np.testing.assert_array_equal(outputs_of(module, obs), before)
    state["layers"]["0"]["weight"][:] = 7
    np.testing.assert_array_equal(outputs_of(module, obs), before)
    np.testing.assert_array_equal(outputs_of(other, obs), before)


def test_a_policy_sees_its_weights_change_in_place() -> None:
    module = policy()
    weights = module.layers.layers[0].weight
    obs = np.ones((1, 3), np.float32)
    before = outputs_of(module, obs).copy()

    weights += 1

    assert (outputs_of(module, obs) != before).any()


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copied_policy_acts_alike_with_weights_of_its_own(remake: Any) -> None:
    module = policy()
    obs = np.ones((1, 3), np.float32)
    before = outputs_of(module, obs).copy()
    other = remake(module)

    np.testing.assert_array_equal(outputs_of(other, obs), before)
    other.layers.layers[0].weight[:] = 0
    assert (outputs_of(other, obs) != before).any()
    np.testing.assert_array_equal(outputs_of(module, obs), before)
    with pytest.raises(SpecError):
        other.forward_inference({"obs": np.ones((1, 4), np.float32)})


def test_a_state_that_does_not_fit_is_refused_with_every_problem_and_changes_nothing() -> None:
    module = policy()
    before = flatten_state(module.get_state())
    state = module.get_state()
    state["layers"]["0"]["weight"] = np.ones((5, 4), np.float32)
    state["layers"]["0"]["bias"] = [1.0] * 5
    state["layers"]["1"]["bias"] = np.array(["a"] * 4)
    state["layers"]["9"] = {"bias": np.ones(1)}
    del state["layers"]["1"]["weight"]

    with pytest.raises(ValueError, match=r"NumpyPolicy\.set_state: the state does not fit") as caught:
        module.set_state(state)

    for problem in (
        "layers.0.weight has shape (5, 4), expected (5, 3)",
        "layers.0.bias is list, expected an array of numbers",
        "layers.1.bias is an array of <U1, expected one of numbers",
        "layers.9.bias is not expected",
        "layers.1.weight is missing",
    ):
        assert problem in str(caught.value)
    for name, array in flatten_state(module.get_state()).items():
        np.testing.assert_array_equal(array, before[name])


def test_the_innermost_seed_draws_the_weights_and_none_leaves_it_to_the_framework() -> None:
    def draw() -> float:
        generator = current_generator()
        assert generator is not None
        return generator.random()

    first = np.random.default_rng(1).random(2).tolist()
    assert current_generator() is None
    with initial_weights_from(1):
        one = draw()
        with initial_weights_from(2):
            inner = draw()
        with initial_weights_from(None):
            assert current_generator() is None
        two = draw()
    assert [one, two] == first  # the outer stream goes on where it was
    assert inner == np.random.default_rng(2).random()
    assert current_generator() is None


def test_the_generator_is_put_back_after_an_exception() -> None:
    with pytest.raises(RuntimeError, match="stop"), initial_weights_from(1):
        raise RuntimeError("stop")
    assert current_generator() is None


def test_flat_names_and_trees_are_inverse_to_each_other() -> None:
    nested = {"pi": {"0": {"weight": 1, "bias": 2}}, "scale": 3}
    flat = {"pi.0.weight": 1, "pi.0.bias": 2, "scale": 3}

    assert flatten_state(nested) == flat
    assert nest_state(flat) == nested


def test_equal_states_fit_also_as_numpy_scalars() -> None:
    check_same_state({"a": np.zeros(())}, {"a": np.float32(1)}, where="here")


def test_nests_of_dicts_tuples_and_lists_are_mapped_leaf_by_leaf() -> None:
    nest = {"b": (1, [2, 3]), "a": {"c": 4}}

    assert map_nest(lambda x: x + 1, nest) == {"b": (2, [3, 4]), "a": {"c": 5}}
    assert map_nest(lambda x, y: x - y, nest, nest) == {"b": (0, [0, 0]), "a": {"c": 0}}
    assert map_nest(lambda x: x + 1, 1) == 2
    assert leaves(nest) == [4, 1, 2, 3]
    assert leaves(5) == [5]
    assert unflatten(nest, leaves(nest)) == nest
    assert dict(leaves_with_paths(nest)) == {"a.c": 4, "b[0]": 1, "b[1][0]": 2, "b[1][1]": 3}
    with pytest.raises((ValueError, TypeError)):
        map_nest(lambda x, y: x, nest, {"b": 1})


def test_the_numpy_bridge_passes_arrays_and_distributions_through() -> None:
    array = np.zeros(2)
    distribution = policy().forward_train({"obs": np.ones((1, 3))})["action_dist"]

    assert numpy_bridge.to_tensors(array) is array
    assert numpy_bridge.to_numpy(array) is array
    assert numpy_bridge.as_distribution(distribution) is distribution
    with pytest.raises(
        TypeError, match=r"action_dist: expected a distribution over NumPy arrays, such as .*, got numpy\.nd"
    ):
        numpy_bridge.as_distribution(array)
