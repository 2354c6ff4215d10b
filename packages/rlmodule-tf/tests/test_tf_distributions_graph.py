"""Distributions inside `tf.function`, across its border, and what only TensorFlow shows of them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import RLModuleConfig, distribution_config
from rlmodule_tf import TfCategorical, TfDiagGaussian, TfMultiDistribution, TfRLModule, TfSquashedGaussian

NESTED = spaces.Dict(
    {
        "turn": spaces.Discrete(3, start=-1),
        "arm": spaces.Tuple([spaces.Box(-1, 2, (2, 1)), spaces.MultiBinary((2, 2))]),
        "grip": spaces.MultiDiscrete([2, 3]),
    }
)
SPACES = {
    "categorical": spaces.Discrete(4, start=3),
    "gaussian": spaces.Box(-1, 1, (2, 2)),
    "multi-categorical": spaces.MultiDiscrete([2, 4], start=[5, 0]),
    "bernoulli": spaces.MultiBinary(3),
    "nested": NESTED,
}


class Module(TfRLModule):
    """One layer, whose outputs are the parameters of the action space's distribution."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        dist_config = distribution_config(config.action_space, squash=True)
        self.make = dist_config.build("tf")
        self.weight = tf.Variable(tf.random.normal([5, dist_config.input_dim], stddev=0.3))

    def _forward_train(self, batch: Any, **kwargs: Any) -> Any:
        return {"action_dist": self.make(batch["obs"] @ self.weight)}

    _forward_exploration = _forward_inference = _forward_train


def module_over(space: Any) -> Module:
    tf.random.set_seed(0)  # a draw near a bound, mapped back, has another density in float32
    return Module(RLModuleConfig(observation_space=spaces.Box(-1, 1, (5,)), action_space=space))


@pytest.mark.parametrize("name", SPACES)
def test_a_compiled_forward_returns_a_distribution_like_the_plain_one(name: str) -> None:
    module = module_over(SPACES[name])
    batch = {"obs": tf.random.normal([6, 5])}

    compiled = tf.function(module.forward_inference)(batch)["action_dist"]

    plain = module.forward_inference(batch)["action_dist"]
    assert type(compiled) is type(plain)
    assert compiled.settings() == plain.settings()
    drawn = compiled.sample()
    np.testing.assert_allclose(compiled.logp(drawn), plain.logp(drawn), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(compiled.entropy(), plain.entropy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SPACES)
def test_one_trace_with_an_input_signature_serves_all_batch_sizes_and_all_methods(name: str) -> None:
    module, traces = module_over(SPACES[name]), []

    def act(obs: tf.Tensor) -> Any:
        traces.append(obs)
        p = module.forward_inference({"obs": obs})["action_dist"]
        drawn = p.sample()
        return p, drawn, p.logp(drawn), p.entropy(), p.kl(p), p.to_deterministic().sample()

    compiled = tf.function(act, input_signature=[tf.TensorSpec([None, 5])])
    for rows in (4, 1, 7):
        p, drawn, logp, entropy, kl, mode = compiled(tf.random.normal([rows, 5]))
        assert logp.shape == entropy.shape == kl.shape == [rows]
        np.testing.assert_allclose(logp, p.logp(drawn), rtol=1e-4, atol=1e-3)
        tf.nest.assert_same_structure(drawn, mode)
    assert len(traces) == 1


def test_relaxed_shapes_trace_twice_at_most() -> None:
    module, traces = module_over(NESTED), []

    def act(obs: tf.Tensor) -> Any:
        traces.append(obs)
        return module.forward_exploration({"obs": obs})["action_dist"]

    compiled = tf.function(act, reduce_retracing=True)
    for rows in (4, 1, 7, 2):
        assert isinstance(compiled(tf.random.normal([rows, 5])), TfMultiDistribution)
    assert len(traces) == 2


def test_a_distribution_goes_into_a_compiled_function_and_gradients_come_back() -> None:
    def entropy(p: TfDiagGaussian) -> Any:
        return p.entropy()

    inputs = tf.zeros([2, 4])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = tf.function(entropy)(TfDiagGaussian(inputs))

    np.testing.assert_array_equal(tape.gradient(result, inputs), [[0, 0, 1, 1]] * 2)


def test_distributions_with_other_settings_have_another_structure() -> None:
    def mode(p: TfCategorical) -> Any:
        return p.to_deterministic().sample()

    first = tf.function(mode)

    assert first(TfCategorical(tf.zeros([1, 2]), start=3)).numpy().tolist() == [3]
    assert first(TfCategorical(tf.zeros([1, 2]), start=7)).numpy().tolist() == [7]
    doubled = tf.nest.map_structure(lambda x: x + 1.0, TfCategorical(tf.zeros([1, 2]), start=7))
    assert isinstance(doubled, TfCategorical)
    assert doubled.start == 7


def test_a_value_of_another_rank_is_refused_while_tracing() -> None:
    def logp(inputs: tf.Tensor, value: tf.Tensor) -> Any:
        return TfCategorical(inputs).logp(value)

    signature = [tf.TensorSpec([None, 2]), tf.TensorSpec([None, 1], tf.int64)]
    with pytest.raises(ValueError, match=r"expected values of shape \[None\], got \[None, 1\]"):
        tf.function(logp, input_signature=signature).get_concrete_function()


def test_a_squashed_draw_that_saturates_keeps_its_density_and_a_finite_gradient() -> None:
    inputs = tf.constant([[30.0, 0.0]] * 100)  # tanh(30) is 1 in float32
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        p = TfSquashedGaussian(inputs)
        drawn = p.rsample()
        logp = p.logp(drawn)

    assert (drawn.numpy() == 1.0).all()
    assert logp.numpy().min() > 40  # the density is huge there, exp(2 u) / 4
    gradient = np.asarray(tape.gradient(logp, inputs))
    np.testing.assert_allclose(gradient[:, 0], 2.0, rtol=1e-5)  # d(2 u)/d(mean)


def test_only_the_reparametrised_squashed_draw_carries_a_gradient() -> None:
    inputs = tf.zeros([2, 4])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        p = TfSquashedGaussian(inputs)
        plain, reparametrised = p.sample(), p.rsample()

    assert tape.gradient(plain, inputs) is None
    gradient = np.asarray(tape.gradient(reparametrised, inputs))
    np.testing.assert_allclose(gradient[:, :2], 1 - reparametrised.numpy() ** 2, rtol=1e-4)


@pytest.mark.parametrize("name", SPACES)
def test_anything_may_stand_in_the_place_of_the_inputs_while_a_structure_is_mapped(name: str) -> None:
    module = module_over(SPACES[name])
    given = module.forward_inference({"obs": tf.random.normal([6, 5])})["action_dist"]

    for change in (lambda x: x.numpy(), lambda x: "name", tf.TensorSpec.from_tensor, lambda x: None):
        mapped = tf.nest.map_structure(change, given)
        assert type(mapped) is type(given)
        assert type(mapped.inputs) is type(change(given.inputs))
        assert mapped.settings() == given.settings()
    back = tf.nest.map_structure(tf.constant, tf.nest.map_structure(lambda x: x.numpy(), given))
    np.testing.assert_array_equal(back.entropy(), given.entropy())


def test_variables_are_tensors_too_of_keras_as_well() -> None:
    logits = np.array([[0.0, 5.0, -5.0]], np.float32)
    plain = TfCategorical(tf.constant(logits)).entropy()

    variables: list[Any] = [tf.Variable(tf.constant(logits)), keras.Variable(logits)]
    for variable in variables:
        np.testing.assert_array_equal(TfCategorical(variable).entropy(), plain)
