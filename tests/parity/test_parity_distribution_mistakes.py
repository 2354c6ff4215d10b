"""What no distribution takes, whichever the framework: wrong numbers of inputs, values of another world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from gymnasium import spaces

WRONG: dict[str, tuple[str, int, dict[str, Any], str]] = {  # kind, inputs, settings, what is expected
    "means without as many log-stds": ("DiagGaussian", 3, {}, "2 n"),
    "a mean alone": ("DiagGaussian", 1, {}, "2 n"),
    "no inputs at all": ("DiagGaussian", 0, {}, "2 n"),
    "fewer than the value has components": ("DiagGaussian", 4, {"event_shape": (2, 2)}, "8"),
    "squashed, an odd number": ("SquashedGaussian", 5, {}, "2 n"),
    "squashed, another value": ("SquashedGaussian", 4, {"event_shape": (3,)}, "6"),
    "more than the components have classes": ("MultiCategorical", 6, {"sizes": (2, 3)}, "5"),
    "fewer than the components have classes": ("MultiCategorical", 4, {"sizes": (2, 3)}, "5"),
    "fewer than components of one size have": ("MultiCategorical", 5, {"sizes": (3, 3)}, "6"),
    "more than there are bits": ("Bernoulli", 5, {"event_shape": (2, 2)}, "4"),
    "more than a fixed value has": ("Deterministic", 5, {"event_shape": (2, 2)}, "4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_constructor_refuses_a_wrong_number_of_inputs(backend: Any, name: str) -> None:
    kind, size, settings, expected = WRONG[name]
    makers: list[Callable[[Any], Any]] = [lambda inputs: backend.cls(kind)(inputs, **settings)]
    if not settings:
        makers.append(backend.cls(kind).from_inputs)

    for shape in ((4, size), (3, 2, size)):
        for make in makers:
            with pytest.raises(ValueError, match="expected inputs") as caught:
                make(backend.tensors(np.zeros(shape)))
            assert str(caught.value) == (
                f"{backend.cls(kind).__name__}: expected inputs of shape [..., {expected}], got {list(shape)}"
            )


@pytest.mark.parametrize("shape", [(), (0,), (4, 0)])
def test_a_categorical_over_no_class_is_refused(backend: Any, shape: tuple[int, ...]) -> None:
    for name in ("inputs", "logits"):
        with pytest.raises(ValueError, match="Categorical") as caught:
            backend.cls("Categorical")(**{name: backend.tensors(np.zeros(shape))})
        assert str(caught.value) == (
            f"{backend.cls('Categorical').__name__}: expected logits [*batch, n] of n >= 1 classes, "
            f"got shape {list(shape)}"
        )


def test_a_graph_refuses_a_wrong_number_of_inputs_while_it_is_traced(backends: Any) -> None:
    for kind, size, settings, expected in WRONG.values():
        made = backends["tf"].cls(kind)
        function = tf.function(
            lambda inputs: made(inputs, **settings).inputs,  # noqa: B023
            input_signature=[tf.TensorSpec([None, size], tf.float32)],
        )
        with pytest.raises(ValueError, match=rf"expected inputs of shape \[..., {expected}\], got \[None, "):
            function.get_concrete_function()


def test_a_graph_that_does_not_know_the_number_of_inputs_takes_them(backends: Any) -> None:
    made = backends["tf"].cls("MultiCategorical")
    function = tf.function(
        lambda inputs: made(inputs, sizes=(2, 3)).entropy(),
        input_signature=[tf.TensorSpec([None, None], tf.float32)],
    )
    np.testing.assert_allclose(function(tf.zeros([4, 5])), np.log([6.0] * 4), rtol=1e-6)


def test_a_divergence_between_other_numbers_of_classes_is_refused(backend: Any) -> None:
    three, one = (backend.cls("Categorical")(backend.tensors(np.zeros((2, n)))) for n in (3, 1))

    for p, q, sizes in ((three, one, "3 and 1"), (one, three, "1 and 3")):
        with pytest.raises(
            ValueError, match=f"kl: both must be over the same values, got {sizes} inputs for one"
        ):
            p.kl(q)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3),
        spaces.MultiDiscrete([3]),
        spaces.MultiBinary(3),
        spaces.Box(-1, 1, (3,)),
        spaces.Box(-1, 1, (3, 1)),
    ],
    ids=lambda space: f"{type(space).__name__} {space.shape}",
)
@pytest.mark.parametrize("squash", [False, True])
def test_logp_of_what_is_no_tensor_says_so(backends: Any, space: Any, squash: bool) -> None:
    size = {"MultiBinary": 3, "Box": 6}.get(type(space).__name__, 3)
    value = np.stack([space.sample()] * 2)
    for backend in (backends["torch"], backends["tf"]):
        distribution = backend.make(space, np.zeros((2, size), np.float32), squash=squash)
        for given, named in ((value, "numpy.ndarray"), (value.tolist(), "list"), (None, "NoneType")):
            with pytest.raises(TypeError) as caught:
                distribution.logp(given)
            assert str(caught.value) == (
                f"{type(distribution).__name__}.logp: expected a tensor, got {named}; "
                + {
                    "torch": "torch.as_tensor(value, device=distribution.inputs.device) makes one",
                    "tf": "tf.convert_to_tensor(value) makes one",
                }[backend.name]
            )


JOINED = {
    "numpy": "np.concatenate([mean, log_std], axis=-1)",
    "torch": "torch.cat([mean, log_std], dim=-1)",
    "tf": "tf.concat([mean, log_std], axis=-1)",
}
BY_NAME: dict[str, tuple[dict[str, Any], str]] = {  # the settings of the others
    "Categorical": ({}, "start, logits"),
    "MultiCategorical": ({"sizes": (2, 2)}, "sizes, start, event_shape"),
    "Bernoulli": ({}, "event_shape"),
    "Deterministic": ({}, "event_shape"),
    "MultiDistribution": ({"parts": ()}, "parts"),
}


@pytest.mark.parametrize("kind", ["DiagGaussian", "SquashedGaussian"])
def test_a_mean_and_a_log_std_apart_are_refused_with_how_to_join_them(backend: Any, kind: str) -> None:
    mean, name = backend.tensors(np.zeros((4, 2))), backend.cls(kind).__name__

    for behind in ((mean,), (mean, mean)):
        with pytest.raises(TypeError) as caught:
            backend.cls(kind)(mean, *behind)
        assert str(caught.value) == (
            f"{name}: expected its inputs as the only positional argument, got {1 + len(behind)}; "
            f"means and log-stds are one tensor here: {name}({JOINED[backend.name]})"
        )
    with pytest.raises(TypeError, match=r"got 2; give settings \(.*event_shape\) by name"):
        backend.cls(kind)(mean, (1,))


@pytest.mark.parametrize("kind", BY_NAME)
def test_a_setting_without_its_name_is_refused_as_it_could_be_a_tensor(backend: Any, kind: str) -> None:
    needed, names = BY_NAME[kind]
    logits = backend.tensors(np.zeros((3, 4)))

    for second in (logits, 2, None):
        with pytest.raises(TypeError) as caught:
            backend.cls(kind)(logits, second, **needed)
        assert str(caught.value) == (
            f"{backend.cls(kind).__name__}: expected its inputs as the only positional argument, got 2; "
            f"give settings ({names}) by name"
        )


@pytest.mark.parametrize("kind", ["DiagGaussian", "SquashedGaussian", *BY_NAME])
def test_inputs_that_are_no_tensors_of_the_framework_are_refused_with_how_to_make_them(
    backend: Any, backends: Any, kind: str
) -> None:
    needed = BY_NAME[kind][0] if kind in BY_NAME else {}
    wanted, made = {
        "numpy": ("a NumPy array", "np.asarray(inputs)"),
        "torch": ("a tensor", "torch.as_tensor(inputs, device=module.device)"),
        "tf": ("a tensor", "tf.convert_to_tensor(inputs)"),
    }[backend.name]
    others = [other.tensors(np.zeros((3, 4))) for other in backends.values() if other.name != backend.name]

    for given in (*others, "logits", 1.0, None, object):
        if given is None and kind == "Categorical":
            continue  # it asks for its logits then, by either name
        with pytest.raises(TypeError) as caught:
            backend.cls(kind)(given, **needed)
        cls = type(given)
        named = cls.__name__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__name__}"
        assert str(caught.value) == (
            f"{backend.cls(kind).__name__}: expected {wanted}, got {named}; {made} makes one"
        )


def test_a_fixed_value_may_be_a_nest_of_tensors_and_of_nothing_else(backend: Any) -> None:
    value, made = backend.tensors(np.zeros((3, 2))), backend.cls("Deterministic")

    assert made({"a": value, "b": (value, [value])}).sample().keys() == {"a", "b"}
    with pytest.raises(TypeError, match=r"Deterministic: expected a .*, got str; .* makes one"):
        made({"a": value, "b": (value, "left")})
    with pytest.raises(TypeError, match=r"Categorical: expected a .*, got dict; .* makes one"):
        backend.cls("Categorical")({"a": value})


def test_bounds_in_an_array_are_refused_with_what_to_write(backend: Any) -> None:
    box, inputs = spaces.Box(-2.0, 2.0, (2,)), backend.tensors(np.zeros((3, 4)))

    with pytest.raises(
        TypeError, match=r"bounds must be numbers or tuples of numbers, got low=\[-2. -2.\], high"
    ):
        backend.cls("SquashedGaussian")(inputs, low=box.low, high=box.high)
