"""What the encoders of every framework share: nested observations, specs of sequences, running moments."""

from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from rlmodule_core import NestedDict, NumpyLayers, NumpyPolicy
from rlmodule_core.encoder_configs import first_leaf, leaf_at, map_leaves, with_leaf, without_key
from rlmodule_core.numpy_distributions import NumpyCategorical
from rlmodule_core.numpy_layers import DenseLayer, RunningNorm
from rlmodule_core.running_moments import Moments, updated_moments
from rlmodule_core.sequence_specs import with_state_in
from rlmodule_specs import TensorSpec

PLAIN: dict[str, Any] = {"arm": {"joint": [1, 2], "tip": (3, 4)}, "leg": 5}
MAPPINGS = [PLAIN, MappingProxyType(PLAIN), NestedDict(PLAIN)]


@pytest.mark.parametrize("obs", MAPPINGS, ids=lambda obs: type(obs).__name__)
def test_any_mapping_is_walked_and_comes_back_as_a_dict_with_its_tuples_and_lists(obs: Any) -> None:
    assert map_leaves(lambda leaf: -leaf, obs) == {"arm": {"joint": [-1, -2], "tip": (-3, -4)}, "leg": -5}
    assert first_leaf(obs) == 1
    assert leaf_at(obs, ("arm", "tip", 1)) == 4
    assert without_key(obs, "arm") == {"leg": 5}


@pytest.mark.parametrize("obs", MAPPINGS, ids=lambda obs: type(obs).__name__)
def test_one_leaf_is_exchanged_and_the_given_observation_stays(obs: Any) -> None:
    changed = with_leaf(obs, ("arm", "tip", 0), 9)

    assert changed == {"arm": {"joint": [1, 2], "tip": (9, 4)}, "leg": 5}
    assert with_leaf(obs, ("arm", "joint", 1), 9)["arm"]["joint"] == [1, 9]
    assert with_leaf(obs, (), 9) == 9
    assert leaf_at(obs, ("arm", "tip", 0)) == 3


def test_moments_of_batches_are_those_of_all_rows_and_rows_that_are_not_finite_are_left_out() -> None:
    rows = np.random.default_rng(0).normal(3.0, 2.0, (50, 2, 3))
    moments = Moments(np.zeros((2, 3)), np.ones((2, 3)), 0)
    for part in (rows[:7], rows[7:8], rows[8:8], rows[8:]):
        moments = updated_moments(moments, np.concatenate([part, np.full((1, 2, 3), np.inf)]))

    assert moments.count == 50
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0))
    np.testing.assert_allclose(moments.var, rows.var(axis=0))
    assert updated_moments(moments, np.zeros((0, 2, 3))) is moments
    assert updated_moments(Moments(np.zeros(0), np.ones(0), 0), np.zeros((4, 0))).count == 4


def test_a_numpy_policy_normalises_over_the_memory_of_the_moments() -> None:
    mean, var, count = np.zeros(2, np.float32), np.ones(2, np.float32), np.array(0)
    norm = RunningNorm(mean, var, count, clip=1.5, epsilon=0.0)
    dense = DenseLayer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), "linear")
    policy = NumpyPolicy(None, NumpyLayers((dense,)).behind(norm), NumpyCategorical)
    x = np.array([[3.0, -1.0], [9.0, 2.0]], np.float32)

    def inputs() -> Any:
        return policy.forward_inference({"obs": x})["action_dist"].inputs

    np.testing.assert_array_equal(inputs(), x)  # nothing was counted
    mean[:], var[:], count[...] = (1.0, 2.0), (4.0, 9.0), 5
    np.testing.assert_allclose(inputs(), [[1.0, -1.0], [1.5, 0.0]])
    np.testing.assert_array_equal(x, [[3.0, -1.0], [9.0, 2.0]])
    assert set(policy.get_state()["norm"]) == {"mean", "var", "count"}


def test_specs_of_a_module_without_a_space_ask_for_obs_and_the_state() -> None:
    state = {"actor": {"h": np.zeros(3, np.float32)}}

    specs = with_state_in(["obs"], state, "numpy")

    assert specs == {
        "obs": None,
        "state_in": {"actor": {"h": TensorSpec("b, 3", framework="numpy")}},
    }


def test_specs_of_nested_observations_become_those_of_sequences() -> None:
    specs: Any = with_state_in(
        {"obs": {"a": TensorSpec("..., 2"), 0: TensorSpec("..."), "text": None}}, {"h": np.zeros(3)}, "numpy"
    )

    assert specs["obs"] == {"a": TensorSpec("b, t, 2"), 0: TensorSpec("b, t"), "text": None}
