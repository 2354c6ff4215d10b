"""Every distribution in every framework against SciPy and literal sums, in value and gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium import spaces
from scipy import integrate, special, stats

from rlmodule_core import distribution_config
from rlmodule_core.nest import leaves, map_nest, unflatten

Array = npt.NDArray[Any]
LOW, HIGH = np.array([[-0.3, 2.0]], np.float32), np.array([[0.1, 5.0]], np.float32)
BOUNDED = spaces.Box(LOW, HIGH)
NESTED = spaces.Dict(
    [
        ("turn", spaces.Discrete(3, start=-1)),
        ("arm", spaces.Tuple([BOUNDED, spaces.MultiBinary((2, 2))])),
        ("grip", spaces.Dict({"fingers": spaces.MultiDiscrete([2, 3])})),
    ]
)
CASES: dict[str, tuple[gym.Space[Any], bool]] = {
    "categorical": (spaces.Discrete(4, start=3), False),
    "gaussian": (spaces.Box(-1.0, 1.0, (3,)), False),
    "gaussian of rank 2": (spaces.Box(-1.0, 1.0, (2, 2)), False),
    "gaussian of rank 0": (spaces.Box(-1.0, 1.0, ()), False),
    "squashed": (BOUNDED, True),
    "squashed, equal bounds": (spaces.Box(-2.0, 2.0, (2,)), True),
    "multi-categorical": (spaces.MultiDiscrete([2, 4, 3], start=[5, 0, -2]), False),
    "multi-categorical of rank 2": (spaces.MultiDiscrete(np.array([[3, 3], [3, 3]])), False),
    "bernoulli": (spaces.MultiBinary((2, 2)), False),
    "nested": (NESTED, False),
    "nested and squashed": (NESTED, True),
    "tuple": (spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]), False),
}


def given(name: str, batch: tuple[int, ...], dtype: Any = np.float64) -> tuple[Array, Array, Any]:
    """Parameters, those of another distribution, and values of the space."""
    space, squash = CASES[name]
    rng = np.random.default_rng(0)
    size = distribution_config(space, squash=squash).input_dim
    # log-stds up to 0.6, where the quadrature of a squashed entropy is exact enough
    inputs, others = rng.uniform(-1.5, 0.6, size=(2, *batch, size)).astype(dtype)
    space.seed(0)
    rows = [space.sample() for _ in range(math.prod(batch))]
    flat = [
        np.stack(column).reshape(*batch, *np.shape(column[0]))
        for column in zip(*map(leaves, rows), strict=True)
    ]
    return inputs, others, unflatten(rows[0], flat)


def literal(space: gym.Space[Any], squash: bool, p: Array, q: Array, value: Any) -> Array:
    """logp, entropy and KL of one row, by the textbook; float64."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        total, at = np.zeros(3), 0
        keys = sorted(space.spaces) if isinstance(space, spaces.Dict) else range(len(space.spaces))
        for key in keys:
            part = space[key]  # type: ignore[index]
            size = distribution_config(part, squash=squash).input_dim
            total += literal(part, squash, p[at : at + size], q[at : at + size], value[key])
            at += size
        return total
    if isinstance(space, spaces.Discrete):
        logs, others = special.log_softmax(p), special.log_softmax(q)
        chosen = logs[int(value) - int(space.start)]
        return np.array([chosen, stats.entropy(np.exp(logs)), stats.entropy(np.exp(logs), np.exp(others))])
    if isinstance(space, spaces.MultiDiscrete):
        edges = np.cumsum(space.nvec.ravel())[:-1]
        rows = zip(np.split(p, edges), np.split(q, edges), value.ravel() - space.start.ravel(), strict=True)
        return summed([literal(spaces.Discrete(len(a)), False, a, b, i) for a, b, i in rows])
    if isinstance(space, spaces.MultiBinary):
        two = spaces.Discrete(2)
        rows = zip(p, q, value.ravel(), strict=True)
        return summed([literal(two, False, np.array([0, a]), np.array([0, b]), x) for a, b, x in rows])
    assert isinstance(space, spaces.Box)
    low, high = space.low.ravel().astype(float), space.high.ravel().astype(float)
    columns = zip(*np.split(p, 2), *np.split(q, 2), np.ravel(value).astype(float), low, high, strict=True)
    return summed([component(*column, squash=squash) for column in columns])


def summed(rows: list[Array]) -> Array:
    total: Array = np.sum(rows, axis=0)
    return total


def component(m: Any, s: Any, mq: Any, sq: Any, x: Any, low: Any, high: Any, *, squash: bool) -> Array:
    """One normal, with standard deviations exp(s) and exp(sq), perhaps squashed to [low, high]."""
    normal = stats.norm(m, np.exp(s))
    kl = sq - s + (np.exp(2 * s) + (m - mq) ** 2) / (2 * np.exp(2 * sq)) - 0.5
    if not squash:
        return np.array([normal.logpdf(x), normal.entropy(), kl])
    scale, shift = (high - low) / 2, (high + low) / 2
    y = (x - shift) / scale
    logp = normal.logpdf(np.arctanh(y)) - np.log(scale * (1 - y * y))
    bend, _ = integrate.quad(
        lambda z: stats.norm.pdf(z) * -2 * np.log(np.cosh(m + np.exp(s) * z)), -9, 9, epsabs=1e-11, limit=200
    )
    return np.array([logp, normal.entropy() + np.log(scale) + bend, kl])


@pytest.mark.parametrize("batch", [(4,), (3, 2)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_logp_entropy_and_kl_are_the_textbooks(
    backend: Any, name: str, dtype: Any, batch: tuple[int, ...]
) -> None:
    space, squash = CASES[name]
    inputs, others, value = given(name, batch, dtype)
    p, q = (backend.make(space, x, squash=squash) for x in (inputs, others))

    results = [p.logp(backend.tensors(value)), p.entropy(), p.kl(q)]

    tolerance = 1e-6 if dtype is np.float64 else 1e-5
    for row in np.ndindex(*batch):
        one = map_nest(lambda leaf: leaf[row], value)  # noqa: B023  # used at once
        expected = literal(space, squash, inputs[row].astype(float), others[row].astype(float), one)
        actual = [backend.arrays(result)[row] for result in results]
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    assert all(tuple(result.shape) == batch for result in results)
    for drawn in (p.sample(), p.to_deterministic().sample()):
        assert [tuple(leaf.shape) for leaf in leaves(drawn)] == [leaf.shape for leaf in leaves(value)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_the_frameworks_agree_in_values_gradients_and_modes(backends: Any, name: str, dtype: Any) -> None:
    space, squash = CASES[name]
    inputs, others, value = given(name, (5,), dtype)
    tolerance = 1e-6 if dtype is np.float64 else 1e-5

    def results(backend: Any) -> list[Array]:
        p, q = (backend.make(space, x, squash=squash) for x in (inputs, others))
        return [backend.arrays(x) for x in (p.logp(backend.tensors(value)), p.entropy(), p.kl(q))]

    def gradients(backend: Any) -> list[Array]:
        p, q = (backend.make(space, x, squash=squash) for x in (inputs, others))
        functions = (
            lambda x: p.with_inputs(x).logp(backend.tensors(value)),
            lambda x: p.with_inputs(x).entropy(),
            lambda x: p.with_inputs(x).kl(q),
            lambda x: q.kl(p.with_inputs(x)),
        )
        return [backend.gradient(function, inputs) for function in functions]

    slopes = {name: gradients(backends[name]) for name in ("torch", "tf")}
    if dtype is np.float64:  # then differences are exact enough
        slopes["numpy"] = gradients(backends["numpy"])
    for other in ("numpy", "tf"):
        np.testing.assert_allclose(results(backends[other]), results(backends["torch"]), tolerance, tolerance)
    for other in slopes:
        for actual, expected in zip(slopes[other], slopes["torch"], strict=True):
            largest = np.abs(expected).max()  # what small entries of a sum are exact to
            np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * largest)
    for other in ("numpy", "tf"):
        modes = [
            b.arrays(b.make(space, inputs, squash=squash).to_deterministic().sample())
            for b in (backends[other], backends["torch"])
        ]
        for actual, expected in zip(*map(leaves, modes), strict=True):
            np.testing.assert_allclose(actual, expected, tolerance, tolerance)
            assert actual.dtype == expected.dtype


@pytest.mark.parametrize("name", CASES)
def test_the_inputs_and_the_space_alone_give_the_same_distribution_again(backend: Any, name: str) -> None:
    space, squash = CASES[name]
    inputs, _, value = given(name, (4,))
    p = backend.make(space, inputs, squash=squash)
    copies = [p.with_inputs(p.inputs), p.to_numpy()]
    if not (squash and isinstance(space, spaces.Dict)):  # a space does not say that it is to be squashed
        copies.append(type(p).from_inputs(p.inputs, space))

    for copy in copies:
        values = value if type(copy).__name__.startswith("Numpy") else backend.tensors(value)
        np.testing.assert_allclose(
            np.asarray(copy.logp(values)), backend.arrays(p.logp(backend.tensors(value)))
        )
    assert p.to_numpy().settings().keys() == p.settings().keys()


def test_the_order_of_a_dicts_keys_makes_no_difference(backend: Any) -> None:
    parts = dict(NESTED.spaces.items())
    inputs, _, value = given("nested", (4,))
    results = []
    for keys in (["arm", "grip", "turn"], ["turn", "grip", "arm"]):
        p = backend.make(spaces.Dict([(key, parts[key]) for key in keys]), inputs)
        results.append(backend.arrays(p.logp(backend.tensors({key: value[key] for key in reversed(keys)}))))

    np.testing.assert_array_equal(*results)


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_wrong_number_of_inputs_is_refused_with_both_shapes(backend: Any, name: str) -> None:
    space, squash = CASES[name]
    inputs, _, _ = given(name, (4,))
    size = inputs.shape[-1]
    p = backend.make(space, inputs, squash=squash)

    wrong = np.zeros((4, size + 2))
    makers: list[Callable[[], Any]] = [
        lambda: backend.make(space, wrong, squash=squash),
        lambda: p.with_inputs(backend.tensors(wrong)),
        lambda: type(p).from_inputs(backend.tensors(wrong), space),
        lambda: backend.make(space, np.zeros(()), squash=squash),
    ]
    for make in makers:
        with pytest.raises(
            ValueError, match=rf"expected inputs of shape \[..., {size}\], got \[(4, {size + 2})?\]"
        ):
            make()


@pytest.mark.parametrize("name", [name for name in CASES if "nested" not in name and name != "tuple"])
def test_a_value_of_a_wrong_shape_is_refused_with_both_shapes(backend: Any, name: str) -> None:
    space, squash = CASES[name]
    inputs, _, value = given(name, (4,))
    p = backend.make(space, inputs, squash=squash)
    wrong = [value[:2], value[None], value[..., None], np.concatenate([value, value])]
    if value.ndim > 1:
        wrong += [np.moveaxis(value, 0, -1), value.ravel()]  # of the right size, which a reshape would take
    if value.ndim > 2:
        wrong.append(value.reshape(4, -1))

    for misfit in wrong:
        with pytest.raises(
            ValueError, match=r"\.logp: expected values of shape \[.*\], got \[.*\]"
        ) as caught:
            p.logp(backend.tensors(misfit))
        assert str(list(value.shape)) in str(caught.value)
        assert str(list(misfit.shape)) in str(caught.value)


def test_a_value_nested_differently_is_refused_by_its_place(backend: Any) -> None:
    inputs, _, value = given("nested", (4,))
    p = backend.make(NESTED, inputs)

    for wrong, match in [
        (value["turn"], r"value: expected a mapping with the keys \['arm', 'grip', 'turn'\], got "),
        ({**value, "more": np.ones(1)}, r"got one with the keys \['arm', 'grip', 'more', 'turn'\]"),
        ({**value, "arm": value["arm"][:1]}, r"value\.arm: expected a tuple of 2, got a tuple of 1"),
        ({**value, "grip": {}}, r"value\.grip: expected a mapping with the keys \['fingers'\], got one with"),
    ]:
        with pytest.raises(ValueError, match=match):
            p.logp(backend.tensors(wrong) if wrong is not value["turn"] else wrong)


def test_a_divergence_between_unlike_distributions_is_refused(backend: Any) -> None:
    def make(kind: str, space: gym.Space[Any], **kw: Any) -> Any:
        return backend.make(space, np.zeros((2, distribution_config(space, **kw).input_dim)), **kw)

    categorical = make("Categorical", spaces.Discrete(2))
    with pytest.raises(TypeError, match=r"kl: expected another \w+Categorical, got \w+Bernoulli"):
        categorical.kl(make("Bernoulli", spaces.MultiBinary(2)))
    one, two = (make("SquashedGaussian", spaces.Box(-1.0, high, (2,)), squash=True) for high in (1.0, 2.0))
    with pytest.raises(ValueError, match="kl: both must be over the same values"):
        one.kl(two)
    left, right = (make("MultiDistribution", spaces.Dict({key: spaces.Discrete(2)})) for key in "ab")
    with pytest.raises(ValueError, match="kl: both must be over the same values"):
        left.kl(right)
    with pytest.raises(TypeError, match=r"kl: expected another \w+MultiDistribution, got \w+Categorical"):
        left.kl(categorical)


def test_a_space_of_another_kind_is_refused(backend: Any) -> None:
    for kind, space in [
        ("Categorical", BOUNDED),
        ("DiagGaussian", spaces.Discrete(2)),
        ("Bernoulli", NESTED),
    ]:
        with pytest.raises(
            ValueError, match=f"{kind} is no distribution over the values of {type(space).__name__}"
        ):
            backend.cls(kind).from_inputs(backend.tensors(np.zeros((1, 4))), space)
    with pytest.raises(ValueError, match="expected a Dict or Tuple space"):
        backend.cls("MultiDistribution").from_inputs(backend.tensors(np.zeros((1, 4))), spaces.Discrete(4))
    with pytest.raises(ValueError, match="needs the space"):
        backend.cls("MultiDistribution").from_inputs(backend.tensors(np.zeros((1, 4))))
