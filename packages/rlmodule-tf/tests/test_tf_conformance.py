"""The TensorFlow modules that ship keep the whole contract, with gradients, graphs and variables."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import RLModuleConfig, distribution_config
from rlmodule_tf import (
    TfCategorical,
    TfDeterministic,
    TfDiagGaussian,
    TfMultiCategorical,
    TfRLModule,
)
from rlmodule_tf.bc_module import DiscreteBCTfModule
from rlmodule_tf.testing import TfRLModuleConformance

CONFIG = RLModuleConfig(
    observation_space=spaces.Box(-1, 1, (4,)),
    action_space=spaces.Discrete(3, start=2),
    model_config_dict={"fcnet_hiddens": [16]},
)


class Recurrent(TfRLModule):
    """Keras's GRU cell without an input size: from zeros where an episode starts, and not over padding."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.cell = tf.keras.layers.GRUCell(5)
        self.head = tf.keras.layers.Dense(3)

    def get_initial_state(self) -> dict[str, Any]:
        return {"h": np.zeros(5, np.float32)}

    def _forward_exploration(self, batch: Any) -> dict[str, Any]:
        obs, h, steps = batch["obs"], batch["state_in"]["h"], []
        for t in range(obs.shape[1]):
            if "is_first" in batch:
                h = tf.where(batch["is_first"][:, t, None], tf.zeros_like(h), h)
            new, _ = self.cell(obs[:, t], [h])
            h = tf.where(batch["mask"][:, t, None], new, h) if "mask" in batch else new
            steps.append(h)
        logits = self.head(tf.stack(steps, axis=1))
        return {"action_dist": TfCategorical(logits, start=2), "state_out": {"h": h}}

    _forward_inference = _forward_exploration


class TestDiscreteBC(TfRLModuleConformance):
    def make_module(self) -> TfRLModule:
        return DiscreteBCTfModule(CONFIG)


class TestRecurrent(TfRLModuleConformance):
    def make_module(self) -> TfRLModule:
        return Recurrent(CONFIG)


class Leaky(DiscreteBCTfModule):
    def _in_acting(self, forward: Any, batch: Any, kwargs: Any) -> Any:
        if forward == self._forward_inference:
            return forward(batch, **kwargs)
        return super()._in_acting(forward, batch, kwargs)


class Growing(DiscreteBCTfModule):
    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.parts: list[Any] = []

    def _forward_train(self, batch: Any) -> Any:
        self.parts.append(tf.Variable(tf.zeros([])))
        return super()._forward_train(batch)


class Sized(DiscreteBCTfModule):
    """Computes with the size that it was traced with."""

    def _forward_inference(self, batch: Any) -> Any:
        logits = self.policy(batch["obs"])
        return {"action_dist": TfCategorical(logits * (batch["obs"].shape[0] or -1))}


class Stopped(DiscreteBCTfModule):
    def _forward_train(self, batch: Any) -> Any:
        return {"action_dist": TfCategorical(tf.stop_gradient(self.policy(batch["obs"])), start=2)}


class Seeding(DiscreteBCTfModule):
    """Made the same each time by seeding the generator that everybody draws from."""

    def __init__(self, config: RLModuleConfig) -> None:
        tf.random.set_seed(0)
        super().__init__(config)


class SeedingAll(DiscreteBCTfModule):
    def _forward_train(self, batch: Any) -> Any:
        tf.keras.utils.set_random_seed(0)
        return super()._forward_train(batch)


class Silent(DiscreteBCTfModule):
    """Trains on logits without a gradient, and gives no distribution that would show it."""

    def _forward_train(self, batch: Any) -> Any:
        return {"action_dist_inputs": tf.stop_gradient(self.policy(batch["obs"])), "rows": tf.range(2)}


class InKeras(TfRLModule):
    """Two Keras layers, of which a user may freeze one."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.body, self.head = tf.keras.layers.Dense(5), tf.keras.layers.Dense(3)

    def _forward_exploration(self, batch: Any) -> dict[str, Any]:
        return {"action_dist": TfCategorical(self.head(self.body(batch["obs"])), start=2)}

    _forward_inference = _forward_exploration


class TestInKeras(TfRLModuleConformance):
    def make_module(self) -> TfRLModule:
        return InKeras(CONFIG)


class Thawing(InKeras):
    """Lists frozen variables as trainable."""

    @property
    def trainable_variables(self) -> Any:
        return self.variables


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (Leaky, "test_acting_carries_no_gradient", "inference: logp carries a gradient"),
        (Stopped, "test_training_carries_a_gradient", "carries no gradient in action_dist: does it stop it"),
        (Silent, "test_training_carries_a_gradient", "carries no gradient in action_dist_inputs: does it"),
        (Seeding, "test_nobody_seeds_the_generators_of_all", "the constructor seeds tensorflow: all others"),
        (
            SeedingAll,
            "test_nobody_seeds_the_generators_of_all",
            "forward_train seeds random, numpy.random, tensorflow: all others",
        ),
        (
            Thawing,
            "test_a_frozen_layer_is_not_listed_as_trainable_and_no_step_moves_it",
            "is frozen, but its variables are among the trainable ones",
        ),
        (Growing, "test_every_variable_exists_and_is_in_the_state", "a forward made new variables"),
        (
            Sized,
            "test_acting_is_traced_once_for_all_batch_sizes_and_computes_the_same",
            "the graph acts differently",
        ),
    ],
)
def test_the_suite_fails_in_words_for_a_module_that_breaks_a_promise_of_tensorflow(
    cls: Any, test: str, words: str
) -> None:
    class Suite(TfRLModuleConformance):
        def make_module(self) -> TfRLModule:
            module: TfRLModule = cls(CONFIG)
            return module

    with pytest.raises(AssertionError, match=words):
        getattr(Suite(), test)()


class Policy(TfRLModule):
    """Acts with any distribution, of so many inputs."""

    def __init__(self, config: RLModuleConfig, inputs: int, make: Any) -> None:
        super().__init__(config)
        self.layer, self.make = tf.keras.layers.Dense(inputs), make

    def _forward_exploration(self, batch: Any) -> dict[str, Any]:
        return {"action_dist": self.make(self.layer(batch["obs"]))}

    _forward_inference = _forward_exploration


def require_actions(space: spaces.Space[Any], inputs: int, make: Any) -> None:
    class Suite(TfRLModuleConformance):
        def make_module(self) -> TfRLModule:
            return Policy(replace(CONFIG, action_space=space), inputs, make)

    Suite().test_acting_gives_an_action_distribution()


class Foreign:
    """A categorical of another library, by logits or by probabilities, as TensorFlow Probability has it."""

    def __init__(self, logits: Any = None, probs: Any = None) -> None:
        self.logits, self.probs = logits, probs
        self._log = tf.math.log(probs) if logits is None else logits

    def sample(self) -> Any:
        shape = tf.shape(self._log)
        flat = tf.random.categorical(tf.reshape(self._log, [-1, shape[-1]]), 1, dtype=tf.int32)
        return tf.reshape(flat, shape[:-1])

    def log_prob(self, value: Any) -> Any:
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=value, logits=self._log)

    def entropy(self) -> Any:
        raise NotImplementedError

    def mode(self) -> Any:
        return tf.argmax(self._log, axis=-1, output_type=tf.int32)


class Independent:
    """Components side by side, as the same library wraps them."""

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution
        self.sample, self.mode = distribution.sample, distribution.mode
        self.entropy = distribution.entropy

    def log_prob(self, value: Any) -> Any:
        return tf.reduce_sum(self.distribution.log_prob(value), axis=-1)


class Bits(Foreign):
    """Its logits have the shape of a value: they number no classes."""

    def sample(self) -> Any:
        return tf.cast(tf.random.uniform(tf.shape(self.logits)) < tf.sigmoid(self.logits), tf.int32)

    def log_prob(self, value: Any) -> Any:
        return -tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(value, tf.float32), self.logits)

    def mode(self) -> Any:
        return tf.cast(self.logits > 0, tf.int32)


def classes(logits: Any) -> Independent:
    """Two components of three classes each."""
    return Independent(Foreign(tf.reshape(logits, [-1, 2, 3])))


def padded(logits: Any) -> Independent:
    """The same, of which the first has two classes."""
    return classes(logits + tf.constant([0.0, 0.0, -1e9, 0.0, 0.0, 0.0]))


PAIR = spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(3)})
PLANE = spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("space", "inputs", "make"),
    [
        (spaces.Discrete(3, start=2), 3, lambda logits: TfCategorical(logits, start=2)),
        (spaces.Discrete(3), 3, Foreign),
        (spaces.Discrete(3), 3, lambda logits: Foreign(probs=tf.nn.softmax(logits))),
        (spaces.MultiDiscrete([3, 3]), 6, classes),
        (spaces.MultiDiscrete([2, 3]), 6, padded),
        (spaces.MultiBinary(3), 3, lambda logits: Independent(Bits(logits))),
        (PAIR, 5, distribution_config(PAIR).build("tf")),
    ],
)
def test_distributions_over_the_action_space_are_accepted_ours_and_foreign(
    space: Any, inputs: int, make: Any
) -> None:
    require_actions(space, inputs, make)


@pytest.mark.parametrize(
    ("space", "inputs", "make", "words"),
    [
        (spaces.Discrete(3), 4, TfCategorical, "logits of 3 classes from 0, .* got logits of 4 from 0"),
        (spaces.Discrete(3), 2, TfCategorical, "logits of 3 classes from 0, .* got logits of 2 from 0"),
        (PLANE, 6, TfDiagGaussian, r"expected floats \[20, 2\], .* got float32 \[20, 3\] for draw 0"),
        (PLANE, 6, TfCategorical, r"expected floats \[20, 2\], .* got int64 \[20\] for draw 0"),
        (PAIR, 6, TfCategorical, r"value: expected a mapping with the keys \['a', 'b'\], got ndarray"),
        (
            spaces.MultiDiscrete([2, 3]),
            5,
            lambda logits: TfMultiCategorical(logits, sizes=(3, 2)),
            r"expected logits of \[2, 3\] classes .* got logits of \[3, 2\]",
        ),
        (
            spaces.Discrete(3),
            4,
            Foreign,
            r"action: expected probabilities of 3 classes, as Discrete\(3\) has them, got 4",
        ),
        (
            spaces.Discrete(3),
            2,
            lambda logits: Foreign(probs=tf.nn.softmax(logits)),
            "expected probabilities of 3 classes, .* got 2",
        ),
        (
            spaces.Discrete(3, start=2),
            3,
            Foreign,
            r"expected actions of Discrete\(3, start=2\), got [01] for draw 0",
        ),
        (
            spaces.MultiDiscrete([2, 3]),
            6,
            classes,
            r"expected probabilities of \[2, 3\] classes, .* got \[3, 3\]",
        ),
        (
            spaces.MultiBinary(3),
            4,
            lambda logits: Independent(Bits(logits)),
            r"expected bits \[20, 3\], .* got int32 \[20, 4\]",
        ),
    ],
)
def test_distributions_over_other_values_are_told_ours_and_foreign(
    space: Any, inputs: int, make: Any, words: str
) -> None:
    with pytest.raises(AssertionError, match=f"exploration: action_dist is not over[^$]*{words}"):
        require_actions(space, inputs, make)


def test_actions_of_the_bc_module_start_where_the_space_does() -> None:
    actions = (
        DiscreteBCTfModule(CONFIG).forward_exploration({"obs": tf.zeros([500, 4])})["action_dist"].sample()
    )
    assert set(actions.numpy().tolist()) == {2, 3, 4}


def test_a_forward_in_a_tf_function_returns_its_distribution_after_two_traces_for_all_batch_sizes() -> None:
    act = tf.function(DiscreteBCTfModule(CONFIG).forward_inference, reduce_retracing=True)

    for rows in (2, 3, 7, 11):
        distribution = act({"obs": tf.zeros([rows, 4])})["action_dist"]
        assert isinstance(distribution, TfCategorical)
        assert set(distribution.sample().numpy().tolist()) <= {2, 3, 4}
    assert act.experimental_get_tracing_count() <= 2


def test_a_forward_in_a_graph_may_return_a_nest_of_fixed_actions() -> None:
    class Fixed(DiscreteBCTfModule):
        def _forward_inference(self, batch: Any) -> Any:
            return {"action_dist": TfDeterministic({"a": batch["obs"], "b": (batch["obs"] + 1.0,)})}

    found = tf.function(Fixed(CONFIG).forward_inference)({"obs": tf.ones([2, 4])})["action_dist"].sample()

    assert found["b"][0].numpy().tolist() == [[2.0] * 4] * 2


IN_A_GRAPH = """
import rlmodule_tf
import tensorflow as tf
from gymnasium import spaces
from rlmodule_core import RLModuleConfig, distribution_config
from rlmodule_tf.bc_module import DiscreteBCTfModule

class Mine(DiscreteBCTfModule):
    def _forward_train(self, batch):
        logits = self.policy(batch["obs"])
        return {"action_dist": rlmodule_tf.TfCategorical.from_inputs(logits, self.config.action_space)}

module = Mine(RLModuleConfig(observation_space=spaces.Box(-1, 1, (4,)), action_space=spaces.Discrete(2),
                             model_config_dict={"fcnet_hiddens": [8]}))
for forward in (module.forward_train, module.forward_exploration, module.forward_inference):
    distribution = tf.function(forward)({"obs": tf.zeros([2, 4])})["action_dist"]
    distribution.sample(), distribution.logp(tf.zeros([2], tf.int64)), distribution.entropy()
"""


def test_a_checked_forward_in_a_graph_writes_nothing_to_the_terminal(tmp_path: Path) -> None:
    script = tmp_path / "graph.py"  # AutoGraph reads the source of what it converts
    script.write_text(IN_A_GRAPH)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}

    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=plain)

    assert (ran.stdout, ran.stderr) == ("", "")
