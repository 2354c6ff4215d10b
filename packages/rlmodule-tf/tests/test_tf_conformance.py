"""The TensorFlow modules that ship keep the whole contract, with gradients, graphs and variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import RLModuleConfig
from rlmodule_tf import TfCategorical, TfDeterministic, TfRLModule
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
from rlmodule_core import RLModuleConfig
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
