"""Action masks: what is forbidden never happens, and the rest keeps its proportions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import distribution_config

DTYPES = [np.float32, np.float64]
MASK = np.array([True, False, True, False, False])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "logits",
    [
        [0.0, 9.0, 1.0, 2.0, 3.0],
        [-1e4, 1e4, -1e4, 1e4, 0.0],
        [-3e38, 3e38, -3e38, 0.0, 0.0],
        [-np.inf, 0, 1, 2, 3],
    ],
)
def test_a_masked_class_is_never_drawn_nor_the_mode(backend: Any, dtype: Any, logits: list[float]) -> None:
    given = np.array(logits, dtype)
    masked = backend.package.mask_logits(backend.tensors(given), backend.tensors(MASK))
    row = backend.arrays(masked)
    assert np.isfinite(row).all()
    assert row.dtype == dtype

    for space, mask in [
        (spaces.Discrete(5), MASK),
        (spaces.MultiDiscrete([3, 2]), np.array([1, 0, 1, 0, 1]) > 0),
    ]:
        row = backend.arrays(backend.package.mask_logits(backend.tensors(given), backend.tensors(mask)))
        p = backend.make(space, np.tile(row, (100_000, 1)))
        flat = backend.draw(p, seed=3).reshape(100_000, -1), backend.arrays(p.to_deterministic().sample())[:1]
        for values in (flat[0], flat[1].reshape(1, -1)):
            for column, offset in enumerate([0, 3][: values.shape[1]]):
                assert mask[np.unique(values[:, column]) + offset].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_mask_allows_has_the_renormalised_distribution(backend: Any, dtype: Any) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 5)).astype(dtype)
    allowed, masks = logits[:, MASK], np.tile(MASK.astype(np.int8), (4, 1))  # as environments give them

    def masked(x: Any) -> Any:
        return backend.package.mask_logits(x, backend.tensors(masks))

    p = backend.make(spaces.Discrete(5), backend.arrays(masked(backend.tensors(logits))))
    small = backend.make(spaces.Discrete(2), allowed)

    for value, index in ((0, 0), (2, 1)):
        logp = p.logp(backend.tensors(np.full(4, value)))
        np.testing.assert_allclose(
            backend.arrays(logp), backend.arrays(small.logp(backend.tensors(np.full(4, index)))), 1e-6
        )
    np.testing.assert_allclose(backend.arrays(p.entropy()), backend.arrays(small.entropy()), 1e-6)
    assert not backend.arrays(p.kl(p)).any()
    again = p.with_inputs(p.inputs)
    np.testing.assert_array_equal(backend.arrays(again.entropy()), backend.arrays(p.entropy()))
    if backend.name != "numpy":
        value = backend.tensors(np.full(4, 2))
        for function in (
            lambda x: p.with_inputs(masked(x)).logp(value),
            lambda x: p.with_inputs(masked(x)).entropy(),
            lambda x: p.with_inputs(masked(x)).kl(p),
        ):
            gradient = backend.gradient(function, logits)
            assert np.isfinite(gradient).all()
            assert not gradient[:, ~MASK].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_class_masked_on_one_side_only_makes_a_huge_but_finite_divergence(backend: Any, dtype: Any) -> None:
    logits = np.zeros((1000, 5), dtype)
    mask = backend.tensors(np.tile(MASK, (1000, 1)))
    free = backend.make(spaces.Discrete(5), logits)

    def narrowed(x: Any) -> Any:
        return free.with_inputs(backend.package.mask_logits(x, mask))

    q = narrowed(backend.tensors(logits))
    huge = backend.arrays(free.kl(q))
    assert (huge > 1e18).all()
    assert np.isfinite(huge.sum())
    np.testing.assert_allclose(backend.arrays(q.kl(free)), math.log(5 / 2), rtol=1e-6)
    if backend.name != "numpy":
        assert np.isfinite(backend.gradient(lambda x: free.kl(narrowed(x)), logits)).all()


def test_where_a_mask_allows_nothing_all_classes_are_equally_likely_and_the_first_is_drawn(
    backend: Any,
) -> None:
    logits = np.array([[5.0, 1.0, 0.0]], np.float32)
    nothing = backend.package.mask_logits(backend.tensors(logits), backend.tensors(np.zeros((1, 3), bool)))
    p = backend.make(spaces.Discrete(3), backend.arrays(nothing))

    np.testing.assert_allclose(backend.arrays(p.entropy()), math.log(3), rtol=1e-6)
    np.testing.assert_allclose(
        backend.arrays(p.logp(backend.tensors(np.array([1])))), -math.log(3), rtol=1e-6
    )
    assert backend.draw(p, seed=5).tolist() == [0]  # docs/distributions.md says so


def test_a_mask_of_another_shape_is_refused(backend: Any) -> None:
    with pytest.raises(ValueError, match=r"mask_logits: expected a mask of shape \[2, 3\], got \[3\]"):
        backend.package.mask_logits(backend.tensors(np.zeros((2, 3))), backend.tensors(np.ones(3, bool)))


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("logits", [[30.0, 20.0, -40.0], [3e4, -3e4, 0.0], [-np.inf, 16.0, 1.0]])
def test_the_log_probability_of_a_masked_class_is_finite_in_half_precision_too(
    backend: Any, dtype: Any, logits: list[float]
) -> None:
    given, mask = np.array([logits], dtype), np.array([[False, True, True]])
    masked = backend.package.mask_logits(backend.tensors(given), backend.tensors(mask))
    assert backend.arrays(masked).dtype == dtype
    p = backend.cls("Categorical")(masked)

    logp = [backend.arrays(p.logp(backend.tensors(np.array([i])))).item() for i in range(3)]

    assert -np.inf < logp[0] < -1e4
    assert logp[0] < min(logp[1:])
    assert max(logp[1:]) > -1e-2
    assert np.isfinite(backend.arrays(p.entropy())).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_actions_that_are_no_integers_are_refused_by_their_dtype(backend: Any, dtype: Any) -> None:
    logits = np.zeros((2, 5), np.float32)
    whole, several = np.array([1, 2]), np.array([[1, 2], [0, 1]])
    one = backend.make(spaces.Discrete(5), logits)
    two = backend.make(spaces.MultiDiscrete([2, 3]), logits)

    for p, value in ((one, whole), (two, several)):
        with pytest.raises(
            ValueError, match=r"Categorical\.logp: expected values of an integer dtype, got .*float"
        ):
            p.logp(backend.tensors(value.astype(dtype)))
        for good in (np.int64, np.int32, np.int8, np.uint8):
            expected = backend.arrays(p.logp(backend.tensors(value)))
            np.testing.assert_array_equal(
                backend.arrays(p.logp(backend.tensors(value.astype(good)))), expected
            )
    choice = backend.make(spaces.Discrete(2), logits[:, :2])
    assert np.isfinite(backend.arrays(choice.logp(backend.tensors(np.array([True, False]))))).all()


MANY: dict[str, tuple[Any, Any]] = {
    "a choice": (spaces.Discrete(3), lambda i: np.full(1, i)),
    "choices": (spaces.MultiDiscrete([3] * 4), lambda i: np.full((1, 4), i)),
    "unequal choices": (spaces.MultiDiscrete([3, 2, 4, 3]), lambda i: np.full((1, 4), i)),
    "a nest": (
        spaces.Dict({key: spaces.Discrete(3) for key in "abcd"}),
        lambda i: {key: np.full(1, i) for key in "abcd"},
    ),
    "choices in a nest": (
        spaces.Tuple([spaces.MultiDiscrete([3, 3]), spaces.Discrete(3), spaces.Discrete(3)]),
        lambda i: (np.full((1, 2), i), np.full(1, i), np.full(1, i)),
    ),
}


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize(("space", "value"), MANY.values(), ids=MANY)
def test_log_probabilities_of_several_masked_actions_at_once_are_finite_and_have_a_ratio(
    backend: Any, space: Any, value: Any, dtype: Any
) -> None:
    size = distribution_config(space).input_dim
    logits = np.random.default_rng(0).normal(size=(1, size)).astype(dtype)
    allowed = np.ones((1, size), bool)
    sizes = space.nvec if isinstance(space, spaces.MultiDiscrete) else [3] * (size // 3)
    allowed[:, np.cumsum(sizes) - sizes] = False  # the first class of each
    given = backend.tensors(value(0))

    def logp(x: Any) -> Any:
        masked = backend.package.mask_logits(x, backend.tensors(allowed))
        return backend.make(space, logits).with_inputs(masked).logp(given)

    old = backend.arrays(logp(backend.tensors(logits)))
    new = backend.arrays(logp(backend.tensors(logits + dtype(0.25))))

    assert (old < -1e4).all()
    assert np.isfinite(old).all()
    assert np.isfinite(np.exp((new - old).astype(np.float64))).all()
    np.testing.assert_array_equal(np.exp(backend.arrays(logp(backend.tensors(logits))) - old), 1.0)
    if backend.name != "numpy":
        assert np.isfinite(backend.gradient(logp, logits)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("components", [3, 1000])
def test_sums_over_a_batch_of_masked_actions_are_finite(backend: Any, dtype: Any, components: int) -> None:
    space = spaces.MultiDiscrete([2] * components)
    rows = np.zeros((100, 2 * components), dtype)
    mask = np.tile([False, True], (100, components))
    p = backend.make(
        space, backend.arrays(backend.package.mask_logits(backend.tensors(rows), backend.tensors(mask)))
    )

    logp = backend.arrays(p.logp(backend.tensors(np.zeros((100, components), np.int64))))

    assert (logp < -1e18).all()
    assert np.isfinite(logp.sum())
    np.testing.assert_array_equal(np.exp(logp), 0.0)
