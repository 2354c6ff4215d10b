"""What acting may return: a distribution, ours or a foreign one, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import Distribution, NumpyCategorical, NumpyRLModule, RLModuleConfig, numpy_bridge
from rlmodule_specs import SpecError
from rlmodule_tf import TfCategorical, TfRLModule
from rlmodule_tf.distributions import as_distribution

BATCH = {"obs": tf.ones([4, 3])}


class Foreign:
    """Named as TensorFlow Probability names things."""

    def __init__(self, logits: Any) -> None:
        self.inputs = logits

    def sample(self) -> Any:
        return tf.argmax(self.inputs, axis=-1)

    def log_prob(self, value: Any) -> Any:
        return tf.zeros_like(value)

    def entropy(self) -> Any:
        return tf.zeros_like(self.inputs[..., 0])


class Returning(TfRLModule):
    """Gives what `kind` makes of the logits."""

    def __init__(self, kind: Any) -> None:
        super().__init__(
            RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2))
        )
        self.weight, self.kind = tf.Variable(tf.ones([3, 2])), kind

    def _forward_exploration(self, batch: Any) -> Any:
        return {"action_dist": self.kind(tf.matmul(batch["obs"], self.weight))}

    _forward_inference = _forward_exploration


@pytest.mark.parametrize("phase", ["exploration", "inference"])
def test_a_raw_tensor_as_action_dist_is_refused_at_once_with_what_to_return(phase: str) -> None:
    module = Returning(lambda logits: logits)

    with pytest.raises(SpecError) as caught:
        getattr(module, f"forward_{phase}")(BATCH)

    assert str(caught.value) == (
        f"Returning.forward_{phase}: the output breaks output_specs_{phase}() in 1 place\n"
        "  action_dist:  expected a distribution, such as TfCategorical(logits) or an object with sample, "
        "log_prob and entropy, got tf float32 [4, 2]"
    )


@pytest.mark.parametrize("phase", ["exploration", "inference"])
@pytest.mark.parametrize("kind", [TfCategorical, Foreign])
def test_both_kinds_of_distribution_pass_eagerly_and_in_a_graph(kind: Any, phase: str) -> None:
    forward = getattr(Returning(kind), f"forward_{phase}")
    graph = tf.function(lambda obs: forward({"obs": obs})["action_dist"].sample())

    assert forward(BATCH)["action_dist"].sample().shape == (4,)
    assert graph(BATCH["obs"]).shape == (4,)


def test_a_distribution_of_another_framework_is_refused_by_name_with_what_to_return() -> None:
    other = NumpyCategorical(np.zeros((4, 2), np.float32))

    for phase in ("exploration", "inference"):
        with pytest.raises(SpecError, match=r"a distribution, such as TfC.*, got .*\.NumpyCategorical"):
            getattr(Returning(lambda logits: other), f"forward_{phase}")(BATCH)
    with pytest.raises(TypeError, match=r"a distribution, such as TfC.*, got .*\.NumpyCategorical"):
        as_distribution(other)


def test_a_module_of_numpy_that_returns_a_distribution_of_ours_is_refused_as_its_framework_is_another() -> (
    None
):
    ours = TfCategorical(tf.zeros([4, 2]))

    class InNumpy(NumpyRLModule):
        def _forward_exploration(self, batch: Any) -> Any:
            return {"action_dist": ours}

        _forward_inference = _forward_exploration

        def get_state(self) -> dict[str, Any]:
            return {}

        def set_state(self, state: Any) -> None:
            pass

    for phase in ("exploration", "inference"):
        with pytest.raises(SpecError, match=r"a distribution over NumPy arrays, .*, got .*\.TfCategorical"):
            getattr(InNumpy(RLModuleConfig()), f"forward_{phase}")({"obs": np.ones((4, 3))})
    with pytest.raises(TypeError, match=r"a distribution over NumPy arrays, .*, got .*\.TfCategorical"):
        numpy_bridge.as_distribution(ours)


@pytest.mark.parametrize("said", [None, "tf"])
def test_a_distribution_of_ones_own_passes_that_says_of_no_other_framework(said: str | None) -> None:
    class Own(Distribution[Any]):
        """Derived from the neutral contract alone."""

        framework = said

        def __init__(self, logits: Any) -> None:
            self.ours = TfCategorical(logits)
            self.inputs = logits

        @classmethod
        def from_inputs(cls, inputs: Any, space: Any = None) -> Own:
            return cls(inputs)

        def sample(self) -> Any:
            return self.ours.sample()

        def rsample(self) -> Any:
            return self.ours.rsample()

        def logp(self, value: Any) -> Any:
            return self.ours.logp(value)

        def entropy(self) -> Any:
            return self.ours.entropy()

        def kl(self, other: Own) -> Any:
            return self.ours.kl(other.ours)

        def to_deterministic(self) -> Distribution[Any]:
            return self.ours.to_deterministic()

    found = Returning(Own).forward_inference(BATCH)["action_dist"]

    assert isinstance(found, Own)
    assert as_distribution(found) is found


@pytest.mark.parametrize(
    ("kind", "logits"), [(TfCategorical, tf.zeros([2, 3])), (NumpyCategorical, np.zeros((2, 3), np.float32))]
)
def test_a_categorical_takes_its_logits_by_their_own_name_too_but_once(kind: Any, logits: Any) -> None:
    assert kind(logits=logits, start=1).inputs is logits
    assert kind(inputs=logits).inputs is kind(logits).inputs is logits
    with pytest.raises(TypeError, match="expected the logits once"):
        kind(logits, logits=logits)
    with pytest.raises(TypeError, match="expected the logits once"):
        kind()
