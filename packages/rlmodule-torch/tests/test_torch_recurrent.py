"""Encoders with a memory: their equations, resets, padding and burn-in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from rlmodule_core import (
    ComplexEncoderConfig,
    MLPEncoderConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
    initial_weights_from,
)
from rlmodule_core.nest import leaves
from rlmodule_torch import TorchMLPEncoder, recurrent
from rlmodule_torch.bridge import to_numpy, to_tensors

Array = npt.NDArray[Any]


def build(config: Any, seed: int = 0) -> Any:
    with initial_weights_from(seed):
        return config.build("torch")


def call(layer: Any, *nests: Any) -> Any:
    """Arrays in, arrays out; None stays."""
    return to_numpy(layer(*tensors(nests)))


def tensors(nests: Sequence[Any]) -> list[Any]:
    return [None if nest is None else to_tensors(nest) for nest in nests]


def weights(layer: nn.Module) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in layer.state_dict().items()}


def gradients(layer: nn.Module, *nests: Any) -> dict[str, Array]:
    """Of all outputs, each with a weight of its own."""
    layer.zero_grad()
    for out in leaves(layer(*tensors(nests))):
        if out.requires_grad:
            weight = torch.linspace(-1.0, 2.0, out.numel()).reshape(out.shape)
            (out * weight).sum().backward(retain_graph=True)
    found = ((name, p.grad) for name, p in layer.named_parameters())
    return {name: grad.numpy().copy() for name, grad in found if grad is not None}


B, T, H = 4, 6, 5
BASE = MLPEncoderConfig(input_dim=3, hidden=(4,))
LSTM = RecurrentEncoderConfig(base=BASE, cell="lstm", hidden_dim=H)
GRU = RecurrentEncoderConfig(base=BASE, cell="gru", hidden_dim=H)
both_cells = pytest.mark.parametrize("config", [LSTM, GRU], ids=["lstm", "gru"])


def observations(rows: int = B, steps: int = T) -> Array:
    return np.random.default_rng(0).normal(size=(rows, steps, 3)).astype(np.float32)


def states(config: RecurrentEncoderConfig, rows: int = B) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=(rows, H)).astype(np.float32) for name in config.initial_state()}


def real_steps() -> Array:
    """Padding on the right, a row without any, a hole, a row of padding alone."""
    real = np.arange(T) < np.array([[3], [T], [5], [0]])
    real[2, 1] = False
    return real


def first_steps() -> Array:
    first = np.zeros((B, T), bool)
    first[0, 1] = first[1, 0] = first[1, 4] = first[2, 3] = first[3, 2] = True
    return first


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def literal_step(w: dict[str, Array], x: Array, state: dict[str, Array]) -> dict[str, Array]:
    """The equations for one row and one step."""
    from_x = w["rnn.weight_ih_l0"] @ x + w["rnn.bias_ih_l0"]
    from_h = w["rnn.weight_hh_l0"] @ state["h"] + w["rnn.bias_hh_l0"]
    if "c" in state:
        i, f, g, o = np.split(from_x + from_h, 4)
        c = sigmoid(f) * state["c"] + sigmoid(i) * np.tanh(g)
        return {"h": sigmoid(o) * np.tanh(c), "c": c}
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(from_x, 3), np.split(from_h, 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return {"h": (1 - z) * np.tanh(x_n + r * h_n) + z * state["h"]}


def literal_encoder(
    w: dict[str, Array], obs: Array, given: dict[str, Array], real: Array, first: Array
) -> tuple[Array, dict[str, Array]]:
    features, after = np.zeros((*obs.shape[:2], H)), {name: part.copy() for name, part in given.items()}
    for row, time in np.ndindex(*obs.shape[:2]):
        if not real[row, time]:
            continue
        state = {name: part[row] * (not first[row, time]) for name, part in after.items()}
        x = np.tanh(w["base.layers.0.weight"] @ obs[row, time] + w["base.layers.0.bias"])
        for name, part in literal_step(w, x, state).items():
            after[name][row] = part
        features[row, time] = after["h"][row]
    return features, after


def require_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    for one, other in zip(leaves(actual), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def require_equal(actual: Any, expected: Any) -> None:
    for one, other in zip(leaves(actual), leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@both_cells
@pytest.mark.parametrize("with_first", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_it_computes_what_the_equations_say(
    config: RecurrentEncoderConfig, with_mask: bool, with_first: bool
) -> None:
    encoder = build(config)
    real = real_steps() if with_mask else np.ones((B, T), bool)
    first = first_steps() if with_first else np.zeros((B, T), bool)

    mask, is_first = real if with_mask else None, first if with_first else None
    actual = call(encoder, observations(), states(config), mask, is_first)

    require_close(actual, literal_encoder(weights(encoder), observations(), states(config), real, first))


@both_cells
def test_where_all_lengths_are_one_call_it_computes_the_same(
    config: RecurrentEncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "SPLIT_ON", ())  # as on a GPU
    encoder, real, first = build(config), real_steps(), first_steps()

    actual = call(encoder, observations(), states(config), real, first)

    require_close(actual, literal_encoder(weights(encoder), observations(), states(config), real, first))


@both_cells
def test_a_sequence_at_once_is_its_steps_one_by_one(config: RecurrentEncoderConfig) -> None:
    encoder, obs, real, first = build(config), observations(), real_steps(), first_steps()
    state, found = states(config), []
    for time in range(T):
        now = slice(time, time + 1)
        features, state = call(encoder, obs[:, now], state, real[:, now], first[:, now])
        found.append(features)

    require_close(call(encoder, obs, states(config), real, first), (np.concatenate(found, axis=1), state))


@both_cells
def test_a_reset_inside_is_a_fresh_start(config: RecurrentEncoderConfig) -> None:
    encoder, obs = build(config), observations()
    first = np.zeros((B, T), bool)
    first[:, 2] = True
    fresh = {name: np.stack([part] * B) for name, part in encoder.initial_state().items()}

    features, state = call(encoder, obs, states(config), np.ones((B, T), bool), first)

    later, after = call(encoder, obs[:, 2:], fresh, None, None)
    require_close((features[:, 2:], state), (later, after))
    before, _ = call(encoder, obs[:, :2], states(config), None, None)
    require_close(features[:, :2], before)


@both_cells
@pytest.mark.parametrize("filling", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("steps", [1, T])
def test_what_padding_holds_changes_not_one_bit(
    config: RecurrentEncoderConfig, filling: float, steps: int
) -> None:
    encoder, real, first = build(config), real_steps()[:, -steps:], first_steps()[:, -steps:]
    clean, dirty = observations(steps=steps), observations(steps=steps)
    dirty[~real] = filling
    assert real.any()
    assert not real.all()

    outs = [call(encoder, obs, states(config), real, first) for obs in (clean, dirty)]
    moved = [gradients(encoder, obs, states(config), real, first) for obs in (clean, dirty)]

    require_equal(outs[0], outs[1])
    require_equal(moved[0], moved[1])
    assert all(np.isfinite(gradient).all() and gradient.any() for gradient in moved[0].values())
    assert not outs[0][0][~real].any()


@both_cells
def test_a_row_of_padding_alone_keeps_its_state_even_where_it_would_be_reset(
    config: RecurrentEncoderConfig,
) -> None:
    given = states(config)
    for steps in (1, T):
        nothing, first = np.zeros((B, steps), bool), np.ones((B, steps), bool)
        features, after = call(build(config), observations(steps=steps), given, nothing, first)
        require_equal(after, given)
        assert not features.any()


@both_cells
def test_rows_do_not_influence_each_other(config: RecurrentEncoderConfig) -> None:
    encoder, obs, given, first = build(config), observations(), states(config), first_steps()
    features, after = call(encoder, obs, given, real_steps(), first)
    for row in range(B):
        one = slice(row, row + 1)
        part = {name: state[one] for name, state in given.items()}
        alone = call(encoder, obs[one], part, real_steps()[one], first[one])
        require_close(alone, (features[one], {name: state[one] for name, state in after.items()}))


@both_cells
def test_the_first_steps_of_a_longer_sequence_make_the_state_and_carry_no_gradient(
    config: RecurrentEncoderConfig,
) -> None:
    plain, burning = build(config), build(replace(config, burn_in=2))
    obs, given, real, first = observations(), states(config), real_steps(), first_steps()
    first[:, :2] = False  # no episode begins in the burn-in
    whole = call(plain, obs, given, real, first)
    _, middle = call(plain, obs[:, :2], given, real[:, :2], first[:, :2])

    require_close(call(burning, obs, given, real, first), whole)
    moved = gradients(Tail(burning), obs, given, real, first)
    expected = gradients(plain, obs[:, 2:], middle, real[:, 2:], first[:, 2:])
    require_close([moved[f"encoder.{name}"] for name in expected], list(expected.values()))
    assert not any(gradient.any() for gradient in gradients(Head(burning), obs, given, real, first).values())
    for steps in (1, 2):  # no longer than the burn-in: they learn
        assert len(gradients(burning, obs[:, :steps], given, None, None)) == len(expected)


@both_cells
def test_where_an_episode_begins_in_the_burn_in_it_learns_from_there_on(
    config: RecurrentEncoderConfig,
) -> None:
    plain, burning = build(config), build(replace(config, burn_in=2))
    obs, given, real, first = observations(), states(config), real_steps(), np.zeros((B, T), bool)
    first[0, 0] = first[1, 1] = real[:2, :2] = True
    require_close(call(burning, obs, given, real, first), call(plain, obs, given, real, first))

    def moved(encoder: Any, row: int, begin: int) -> list[Any]:
        one, steps = slice(row, row + 1), slice(begin, None)
        state = {name: part[one] for name, part in given.items()}
        return list(gradients(encoder, obs[one, steps], state, real[one, steps], first[one, steps]).values())

    require_close(moved(burning, 0, 0), moved(plain, 0, 0))
    require_close(moved(Second(burning), 1, 0), moved(plain, 1, 1))


class Tail(nn.Module):
    """The outputs behind the burn-in."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *args: Any) -> Any:
        features, state = self.encoder(*args)
        return features[:, 2:], state


class Second(Tail):
    """The outputs from the second step on."""

    def forward(self, *args: Any) -> Any:
        features, state = self.encoder(*args)
        return features[:, 1:], state


class Head(Tail):
    """The features of the burn-in."""

    def forward(self, *args: Any) -> Any:
        return self.encoder(*args)[0][:, :2].detach()


def test_the_base_encodes_a_whole_sequence_in_one_call() -> None:
    calls = []

    class Counting(TorchMLPEncoder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(tuple(x.shape))
            return super().forward(x)

    encoder = build(LSTM)
    encoder.base = Counting(BASE)
    call(encoder, observations(), states(LSTM), None, None)

    assert calls == [(B * T, 3)]


def test_the_base_may_be_any_encoder_of_nested_observations() -> None:
    base = ComplexEncoderConfig(
        leaves=(
            (("token",), OneHotEncoderConfig(shape=(), sizes=(4,), start=(0,))),
            (("pair", 1), BASE),
        )
    )
    encoder = build(replace(LSTM, base=base))
    vectors, tokens = observations(), np.arange(B * T).reshape(B, T) % 4
    obs = {"token": tokens, "pair": (np.zeros((B, T)), vectors)}

    features, _ = call(encoder, obs, states(LSTM), real_steps(), first_steps())

    assert features.shape == (B, T, H)
    joined = [np.eye(4)[tokens], call(encoder.base.leaves[1], vectors)]
    direct = build(replace(LSTM, base=Untouched()))
    direct.rnn = encoder.rnn
    x = np.concatenate(joined, axis=-1).astype(np.float32)
    require_close(call(direct, x, states(LSTM), real_steps(), first_steps())[0], features)


class Untouched:
    """A user's own config, of an encoder that does nothing."""

    output_dim = 8

    def build(self, framework: str) -> Any:
        return nn.Identity()


def test_initial_weights_are_drawn_gate_by_gate_and_the_forget_gate_starts_open() -> None:
    w = weights(build(replace(LSTM, forget_bias=1.5)))
    for gate in np.split(w["rnn.weight_hh_l0"], 4):
        np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)

    assert w["rnn.bias_ih_l0"].tolist() == [0.0] * H + [1.5] * H + [0.0] * 2 * H
    assert not w["rnn.bias_hh_l0"].any()
    assert not weights(build(GRU))["rnn.bias_ih_l0"].any()
    assert {name: part.shape for name, part in w.items()} == {
        "base.layers.0.weight": (4, 3),
        "base.layers.0.bias": (4,),
        "rnn.weight_ih_l0": (4 * H, 4),
        "rnn.weight_hh_l0": (4 * H, H),
        "rnn.bias_ih_l0": (4 * H,),
        "rnn.bias_hh_l0": (4 * H,),
    }


@both_cells
def test_the_initial_state_is_zeros_without_batch_axis(config: RecurrentEncoderConfig) -> None:
    state = build(config).initial_state()

    assert set(state) == ({"h", "c"} if config.cell == "lstm" else {"h"})
    assert all(part.shape == (H,) and part.dtype == np.float32 and not part.any() for part in state.values())


@pytest.mark.parametrize("name", ["mask", "is_first"])
def test_flags_of_another_shape_than_the_steps_are_refused(name: str) -> None:
    mask, is_first = (np.ones((B, T - 1), bool) if name == other else None for other in ("mask", "is_first"))
    with pytest.raises(ValueError, match=rf"{name}: expected shape \[4, 6\], got \[4, 5\]"):
        call(build(LSTM), observations(), states(LSTM), mask, is_first)
