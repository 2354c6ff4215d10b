"""Initial weights: how they are spread, for dense layers, convolutions and recurrent ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rlmodule_core.initializers import (
    INITIALIZER_NAMES,
    current_generator,
    initial_weights,
    initial_weights_from,
    recurrent_weights,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    "shape", [(3, 3), (2, 5), (5, 2), (1, 4), (4, 1), (8, 3, 2, 2), (16, 1, 2, 2), (4, 2, 3, 1)]
)
def test_orthogonal_weights_have_orthogonal_rows_or_columns_of_length_gain(shape: tuple[int, ...]) -> None:
    weights = initial_weights("orthogonal", rng(), shape, gain=1.5)
    assert weights.shape == shape

    w = weights.reshape(shape[0], -1).astype(np.float64)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 1.5**2 * np.eye(min(w.shape)), atol=1e-5)


def test_orthogonal_weights_have_no_preferred_sign() -> None:
    generator = rng()
    draws = np.stack([initial_weights("orthogonal", generator, (2, 2), gain=1.0) for _ in range(2000)])
    assert (np.abs(draws.mean(axis=0)) < 0.08).all()  # 5 standard errors of a uniform direction


# outputs 120, inputs 50, kernel 2x3: fan in 300, fan out 720. Written out, not computed as in the source.
VARIANCES = {
    ("xavier_uniform", (200, 300)): 2 / 500,
    ("xavier_normal", (200, 300)): 2 / 500,
    ("kaiming_uniform", (200, 300)): 1 / 300,
    ("kaiming_normal", (200, 300)): 1 / 300,
    ("xavier_uniform", (120, 50, 2, 3)): 2 / 1020,
    ("xavier_normal", (120, 50, 2, 3)): 2 / 1020,
    ("kaiming_uniform", (120, 50, 2, 3)): 1 / 300,
    ("kaiming_normal", (120, 50, 2, 3)): 1 / 300,
}


@pytest.mark.parametrize(("name", "shape"), VARIANCES)
@pytest.mark.parametrize("gain", [1.0, math.sqrt(2.0), 0.01])
def test_the_spread_is_the_papers(name: str, shape: tuple[int, ...], gain: float) -> None:
    w = initial_weights(name, rng(), shape, gain=gain).astype(np.float64)
    variance = gain**2 * VARIANCES[name, shape]

    assert w.shape == shape
    assert abs(w.mean()) < 5 * math.sqrt(variance / w.size)
    assert w.var() == pytest.approx(
        variance, rel=5 * math.sqrt(2 / w.size)
    )  # 5 standard errors of a normal's
    furthest = np.abs(w).max() / math.sqrt(variance)
    if name.endswith("uniform"):
        assert 1.7 < furthest <= math.sqrt(3.0) * (1 + 1e-6)
    else:
        assert furthest > 3.5  # no uniform draw goes there


@pytest.mark.parametrize("name", INITIALIZER_NAMES)
def test_weights_are_float32_in_order_and_the_seeds(name: str) -> None:
    one, again, other = (initial_weights(name, rng(seed), (6, 4, 3, 3), gain=1.0) for seed in (3, 3, 4))

    assert one.dtype == np.float32
    assert one.flags.c_contiguous
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_an_unknown_name_is_refused_with_all_known_ones() -> None:
    with pytest.raises(ValueError, match=r"initializer: expected one of orthogonal, xavier_.*, got 'glorot'"):
        initial_weights("glorot", rng(), (2, 3), gain=1.0)


@pytest.mark.parametrize(("gates", "inputs", "hidden"), [(4, 5, 3), (3, 2, 6), (1, 4, 4)])
def test_each_gate_of_a_recurrent_layer_is_drawn_alone(gates: int, inputs: int, hidden: int) -> None:
    from_inputs, from_hidden = recurrent_weights(
        "orthogonal", rng(), gates=gates, inputs=inputs, hidden=hidden
    )
    assert from_inputs.shape == (gates * hidden, inputs)
    assert from_hidden.shape == (gates * hidden, hidden)

    blocks: list[Any] = [*np.split(from_inputs, gates), *np.split(from_hidden, gates)]
    for block in blocks:
        w = block.astype(np.float64)
        product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        np.testing.assert_allclose(product, np.eye(min(w.shape)), atol=1e-5)
    for first, second in zip(blocks[gates:], blocks[gates + 1 :], strict=False):
        assert (first != second).any()


def test_a_recurrent_layers_weights_are_the_same_for_one_seed() -> None:
    one, again = (recurrent_weights("xavier_normal", rng(5), gates=4, inputs=3, hidden=2) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_one_seed_gives_one_set_of_weights() -> None:
    def weights(seed: int) -> Any:
        with initial_weights_from(seed):
            generator = current_generator()
            assert generator is not None
            return initial_weights("orthogonal", generator, (3, 4), gain=1.0)

    np.testing.assert_array_equal(weights(3), weights(3))
    assert (weights(3) != weights(4)).any()
