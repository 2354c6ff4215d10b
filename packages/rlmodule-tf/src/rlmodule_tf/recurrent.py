"""The encoder with a memory: any encoder of each step, then one LSTM or GRU over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from rlmodule_core import RecurrentEncoderConfig
from rlmodule_core.encoder_configs import first_leaf, map_leaves
from rlmodule_core.initializers import recurrent_weights
from rlmodule_core.model_config import output_dim
from rlmodule_core.nest import Nest
from rlmodule_tf.layers import TfLayer, generator, parameter

States = dict[str, tf.Tensor]
Product = Callable[[tf.Tensor], tf.Tensor]


class TfRecurrentEncoder(TfLayer):
    """`[B, T, ...]` and a state `{"h": [B, H], "c": [B, H]}` (a GRU's has no c) -> `[B, T, H]` and a state.

    Steps where `mask` is False leave the state as it was and have features of 0; what they hold is
    never looked at. Where `is_first` is True, a real step starts from the initial state.
    """

    def __init__(self, config: RecurrentEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.base: Any = config.base.build("tf")
        self.rnn = _RNN(config, output_dim(config.base))

    def initial_state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the state at the start of an episode, without batch axis."""
        return self.config.initial_state()

    def __call__(
        self,
        obs: Nest,  # leaves [B, T, ...]
        state: Any,
        mask: tf.Tensor | None = None,  # [B, T]
        is_first: tf.Tensor | None = None,  # [B, T]
    ) -> tuple[tf.Tensor, States]:
        """Return the features `[B, T, H]` and the state behind the last real step, all in one pass.

        The first `burn_in` steps of a longer sequence make the state, but carry no gradient. Where an episode
        begins in them they do from then on, as the state is known. Raises ValueError if `mask` or `is_first`
        has another shape than the steps.
        """
        leaf = first_leaf(obs)
        for name, flags in (("mask", mask), ("is_first", is_first)):
            if flags is not None and not leaf.shape[:2].is_compatible_with(flags.shape):
                raise ValueError(f"{name}: expected shape {list(leaf.shape[:2])}, got {list(flags.shape)}")
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            obs = map_leaves(lambda leaf: _zero_unless(mask, leaf), obs)
        x, initial = self._encode(obs), self.initial_state()
        state = {name: tf.cast(state[name], x.dtype) for name in initial}
        features, state = self.rnn(
            x, state, initial, real=mask, first=is_first, burnt=self._burnt(x, is_first)
        )
        return features if mask is None else _zero_unless(mask, features), state

    def _burnt(self, x: tf.Tensor, is_first: tf.Tensor | None) -> tf.Tensor | None:
        """Return `[B, T]`, True in steps of the burn-in; none where there are no more than these."""
        burn_in, steps = self.config.burn_in, x.shape[1]
        if not burn_in or (steps is not None and steps <= burn_in):
            return None
        rows, count = tf.unstack(tf.shape(x)[:2])
        burnt = (tf.range(count) < burn_in) & (count > burn_in)
        by_row: tf.Tensor = tf.broadcast_to(burnt, [rows, count])
        if is_first is not None:
            by_row &= tf.cumsum(tf.cast(is_first, tf.int32), axis=1) == 0
        return by_row

    def _encode(self, obs: Nest) -> tf.Tensor:
        """Encode every step in one call, `[B, T, n]`."""
        x = self.base(map_leaves(_fold, obs))
        steps = _sizes(first_leaf(obs))[:2]
        return tf.cast(tf.reshape(x, [*steps, x.shape[-1]]), self.rnn.weight_ih_l0.dtype)


class _RNN(TfLayer):
    """An LSTM or GRU, its gates in the order i, f, g, o or r, z, n, with two biases."""

    def __init__(self, config: RecurrentEncoderConfig, inputs: int) -> None:
        super().__init__()
        hidden, is_lstm = config.hidden_dim, config.cell == "lstm"
        gates = {"lstm": 4, "gru": 3}[config.cell]
        from_inputs, from_hidden = recurrent_weights(
            config.initializer, generator(), gates=gates, inputs=inputs, hidden=hidden
        )
        bias = np.zeros(gates * hidden, np.float32)
        self.weight_ih_l0, self.weight_hh_l0 = parameter(from_inputs), parameter(from_hidden)
        if is_lstm:
            bias[hidden : 2 * hidden] = config.forget_bias
        self.bias_ih_l0 = parameter(bias)
        self.bias_hh_l0 = parameter(np.zeros_like(bias))
        self._cell = _lstm if is_lstm else _gru
        self._sizes = (gates * hidden, inputs)

    def __call__(
        self,
        x: tf.Tensor,  # [B, T, n]
        state: States,
        initial: Mapping[str, npt.NDArray[np.float32]],
        **flags: tf.Tensor | None,  # [B, T] each: real, first, burnt
    ) -> tuple[tf.Tensor, States]:
        """Return every h, `[B, T, H]`, and the last state."""
        columns = {
            name: tf.transpose(tf.cast(flag, tf.bool)) for name, flag in flags.items() if flag is not None
        }
        from_x, from_h = self._products()
        columns["x"] = by_time = tf.transpose(x, [1, 0, 2])
        gates, inputs = self._sizes
        # all at once, unless what the loop then reads step by step would be much wider than the inputs
        ahead = 2 * inputs >= gates
        if ahead:
            products = tf.reshape(from_x(tf.reshape(by_time, [-1, inputs])), [*_sizes(by_time)[:2], gates])
            columns["x"] = tf.ensure_shape(products, [*by_time.shape[:2], gates])

        def step(old: States, now: dict[str, tf.Tensor]) -> States:
            start = old
            if "first" in now:
                start = _where(now["first"], {k: tf.cast(v, x.dtype) for k, v in initial.items()}, old)
            new = self._cell(now["x"] if ahead else from_x(now["x"]), from_h(start["h"]), start)
            if "real" in now:
                new = _where(now["real"], new, old)
            if "burnt" in now:
                new = _where(now["burnt"], {k: tf.stop_gradient(v) for k, v in new.items()}, new)
            return new

        if x.shape[1] == 1:
            state = step(state, {name: column[0] for name, column in columns.items()})
            return state["h"][:, None], state
        return _over_time(step, state, columns)

    def _products(self) -> tuple[Product, Product]:
        """Return what inputs, `[B, n]`, and hidden states, `[B, H]`, add to the gates."""
        weight_x, weight_h = tf.transpose(self.weight_ih_l0), tf.transpose(self.weight_hh_l0)
        bias_x, bias_h = tf.convert_to_tensor(self.bias_ih_l0), tf.convert_to_tensor(self.bias_hh_l0)
        if self._cell is _lstm:  # the gates have the sum of both, so that one can be added ahead
            both = bias_x + bias_h
            return lambda x: tf.matmul(x, weight_x) + both, lambda h: tf.matmul(h, weight_h)
        return lambda x: tf.matmul(x, weight_x) + bias_x, lambda h: tf.matmul(h, weight_h) + bias_h


def _where(rows: tf.Tensor, yes: Mapping[str, tf.Tensor], no: States) -> States:
    """Choose row by row, `[B]`, between two states."""
    return {name: tf.where(rows[:, None], yes[name], part) for name, part in no.items()}


def _over_time(step: Any, state: States, columns: dict[str, tf.Tensor]) -> tuple[tf.Tensor, States]:
    """Apply `step` to one time after the other of `[T, B, ...]` columns, in one loop of the graph."""
    count = tf.shape(columns["x"])[0]
    arrays = {
        name: tf.TensorArray(column.dtype, count, element_shape=column.shape[1:]).unstack(column)
        for name, column in columns.items()
    }
    outputs = tf.TensorArray(columns["x"].dtype, count, element_shape=state["h"].shape)

    def body(time: tf.Tensor, old: States, found: tf.TensorArray) -> tuple[Any, ...]:
        new = step(old, {name: array.read(time) for name, array in arrays.items()})
        return time + 1, new, found.write(time, new["h"])

    _, state, outputs = tf.while_loop(
        lambda time, *_: time < count, body, (tf.constant(0), state, outputs), maximum_iterations=count
    )
    features = tf.transpose(outputs.stack(), [1, 0, 2])
    return tf.ensure_shape(features, [*columns["x"].shape[1::-1], state["h"].shape[-1]]), state


def _lstm(from_input: tf.Tensor, from_hidden: tf.Tensor, state: States) -> States:
    i, f, g, o = tf.split(from_input + from_hidden, 4, axis=-1)
    c = tf.sigmoid(f) * state["c"] + tf.sigmoid(i) * tf.tanh(g)
    return {"h": tf.sigmoid(o) * tf.tanh(c), "c": c}


def _gru(from_input: tf.Tensor, from_hidden: tf.Tensor, state: States) -> States:
    (r_x, z_x, n_x), (r_h, z_h, n_h) = (tf.split(part, 3, axis=-1) for part in (from_input, from_hidden))
    z = tf.sigmoid(z_x + z_h)
    n = tf.tanh(n_x + tf.sigmoid(r_x + r_h) * n_h)
    return {"h": (1.0 - z) * n + z * state["h"]}


def _sizes(x: tf.Tensor) -> list[Any]:
    """Return the size of each axis, as a number where it is known."""
    known, found = x.shape, tf.unstack(tf.shape(x))
    return [found[axis] if known[axis] is None else known[axis] for axis in range(len(found))]


def _fold(leaf: tf.Tensor) -> tf.Tensor:
    """Return `[B, T, ...]` as `[B * T, ...]`."""
    return tf.reshape(leaf, [-1, *leaf.shape[2:]])


def _zero_unless(real: tf.Tensor, leaf: tf.Tensor) -> tf.Tensor:
    """Return `[B, T, ...]` with 0 in the steps that are not real."""
    for _ in range(leaf.shape.rank - 2):
        real = tf.expand_dims(real, -1)
    return tf.where(real, leaf, tf.zeros_like(leaf))
