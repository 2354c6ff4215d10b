"""A config with a wrong value is refused where it is made, with what was meant."""

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rlmodule_core import (
    ActorCriticEncoderConfig,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    ConvLayer,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    FreeLogStdHeadConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NormalizerConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
    framework_module,
)
from rlmodule_core.initializers import INITIALIZER_NAMES
from rlmodule_core.model_config import ACTIVATION_NAMES, output_dim

MLP: dict[str, Any] = {"input_dim": 3, "hidden": (4,)}
HEAD: dict[str, Any] = {"input_dim": 3, "output_dim": 2}
CONV: dict[str, Any] = {"channels": 4, "kernel": (3, 3)}
CNN: dict[str, Any] = {"image": (8, 8, 1), "layers": (ConvLayer(**CONV),)}
CLASSES: dict[str, Any] = {"shape": (2,), "sizes": (2, 3), "start": (0, 5)}
MEMORY: dict[str, Any] = {"base": MLPEncoderConfig(**MLP)}
NORM: dict[str, Any] = {"leaves": (((), (3,)),)}
MAKERS: list[tuple[Any, dict[str, Any]]] = [
    (MLPEncoderConfig, MLP),
    (MLPHeadConfig, HEAD),
    (FreeLogStdHeadConfig, HEAD),
    (ConvLayer, CONV),
    (CNNEncoderConfig, CNN),
    (FlattenEncoderConfig, {"shape": (2,)}),
    (OneHotEncoderConfig, CLASSES),
    (EmbeddingEncoderConfig, {**CLASSES, "dim": 4}),
    (ComplexEncoderConfig, {"leaves": ((("arm", 0), MEMORY["base"]),)}),
    (RecurrentEncoderConfig, MEMORY),
    (NormalizerConfig, NORM),
    (ActorCriticEncoderConfig, MEMORY),
]
GOOD: dict[Any, dict[str, Any]] = dict(MAKERS)


@pytest.mark.parametrize(
    ("kind", "field", "typo", "meant"),
    [
        (RecurrentEncoderConfig, "cell", "LSTM", "lstm"),
        (RecurrentEncoderConfig, "cell", "lsmt", "lstm"),
        (RecurrentEncoderConfig, "initializer", "orthogonl", "orthogonal"),
        (ConvLayer, "padding", "SAME", "same"),
        (MLPEncoderConfig, "activation", "Tanh", "tanh"),
        (MLPEncoderConfig, "initializer", "Xavier_Uniform", "xavier_uniform"),
        (MLPHeadConfig, "activation", "leakyrelu", "leaky_relu"),
        (FreeLogStdHeadConfig, "activation", "ReLU", "relu"),
        (CNNEncoderConfig, "activation", " relu", "relu"),
    ],
)
def test_a_typo_of_a_name_is_told_the_nearest(kind: Any, field: str, typo: str, meant: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^{kind.__name__}: {field}: expected one of '.*, got '{typo}', did"
    ) as e:
        kind(**{**GOOD[kind], field: typo})
    assert str(e.value).endswith(f", did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("kind", "field", "value", "expected"),
    [
        (MLPEncoderConfig, "input_dim", 0, "a positive integer"),
        (MLPEncoderConfig, "input_dim", True, "a positive integer"),
        (MLPEncoderConfig, "input_dim", 3.0, "a positive integer"),
        (MLPEncoderConfig, "hidden", (0,), "a tuple of positive integers"),
        (MLPEncoderConfig, "hidden", 64, "a tuple of positive integers"),
        (MLPEncoderConfig, "layer_norm", "no", "True or False"),
        (MLPEncoderConfig, "gain", math.nan, "a finite number"),
        (MLPEncoderConfig, "activation", None, "one of 'elu'"),
        (MLPEncoderConfig, "activation", ["relu"], "one of 'elu'"),
        (MLPHeadConfig, "output_dim", -1, "a positive integer"),
        (ConvLayer, "channels", "8", "a positive integer"),
        (ConvLayer, "kernel", 3, "two positive integers"),
        (ConvLayer, "kernel", (3, 3, 3), "two positive integers"),
        (ConvLayer, "stride", (0, 1), "two positive integers"),
        (CNNEncoderConfig, "image", (8, 8), "three positive integers"),
        (CNNEncoderConfig, "layers", ((16, 4, 2),), "a tuple of ConvLayers"),
        (CNNEncoderConfig, "layers", ConvLayer(**CONV), "a tuple of ConvLayers"),
        (FlattenEncoderConfig, "shape", 3, "a tuple of integers, 0 or more"),
        (FlattenEncoderConfig, "scale", "1/255", "a finite number"),
        (OneHotEncoderConfig, "sizes", (2, 0), "a tuple of positive integers"),
        (OneHotEncoderConfig, "start", (0, 0.5), "a tuple of integers"),
        (EmbeddingEncoderConfig, "dim", 0, "a positive integer"),
        (ComplexEncoderConfig, "leaves", ((("arm",), None),), r"a tuple of \(path, config\)"),
        (ComplexEncoderConfig, "leaves", (("arm", MEMORY["base"]),), r"a tuple of \(path, config\)"),
        (ComplexEncoderConfig, "fusion", 8, "an MLPEncoderConfig or None"),
        (RecurrentEncoderConfig, "base", None, "a config, or an object of yours with build"),
        (RecurrentEncoderConfig, "base", MLPEncoderConfig, "a config, or an object of yours with build"),
        (RecurrentEncoderConfig, "burn_in", -1, "an integer, 0 or more"),
        (RecurrentEncoderConfig, "hidden_dim", 0, "a positive integer"),
        (RecurrentEncoderConfig, "cell", None, "one of 'lstm', 'gru'"),
        (NormalizerConfig, "leaves", (((), 3),), r"a tuple of \(path, shape\)"),
        (NormalizerConfig, "clip", 0.0, "a positive number"),
        (NormalizerConfig, "clip", math.nan, "a positive number"),
        (NormalizerConfig, "epsilon", 0, "a positive number"),
        (ActorCriticEncoderConfig, "shared", 1, "True or False"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(
    kind: Any, field: str, value: Any, expected: str
) -> None:
    with pytest.raises(ValueError, match=rf"^{kind.__name__}: {field}: expected {expected}.*, got "):
        kind(**{**GOOD[kind], field: value})


def test_all_problems_of_a_config_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="ConvLayer") as caught:
        ConvLayer(channels=0, kernel=3, padding="SAME")  # type: ignore[arg-type]
    assert str(caught.value) == (
        "ConvLayer: channels: expected a positive integer, got 0; kernel: expected two positive integers, "
        "(along the height, along the width), got 3; padding: expected one of 'same', 'valid', got 'SAME', "
        "did you mean 'same'?"
    )


def test_classes_have_a_size_and_a_start_for_each_component() -> None:
    with pytest.raises(ValueError, match=r"each of the 3 components of shape=\(3,\), got 2 and 2"):
        OneHotEncoderConfig(**{**CLASSES, "shape": (3,)})
    with pytest.raises(ValueError, match=r"EmbeddingEncoderConfig: sizes, start: .*, got 2 and 1"):
        EmbeddingEncoderConfig(**{**CLASSES, "start": (0,)}, dim=4)


@pytest.mark.parametrize(("kind", "given"), MAKERS)
def test_a_good_config_is_made_as_it_was_given(kind: Any, given: dict[str, Any]) -> None:
    config = kind(**given)
    assert {name: getattr(config, name) for name in given} == given


def test_integers_of_numpy_are_sizes_and_its_numbers_are_numbers() -> None:
    seven = np.int64(7)
    mlp = MLPEncoderConfig(input_dim=seven, hidden=(seven,), gain=np.float32(0.5))  # type: ignore[arg-type]
    layer = ConvLayer(channels=seven, kernel=(np.int32(2), np.uint8(2)))  # type: ignore[arg-type]

    assert output_dim(mlp) == 7
    assert CNNEncoderConfig(image=(seven, 7, 1), layers=(layer,)).output_dim == 7**3  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0.1, 1, np.float32(5.0), math.inf])
def test_a_limit_may_be_any_positive_number_or_none_at_all(value: Any) -> None:
    assert NormalizerConfig(**NORM, clip=value).clip == value


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_every_activation_is_a_good_name(name: str) -> None:
    assert MLPEncoderConfig(**MLP, activation=name).activation == name


@pytest.mark.parametrize("name", INITIALIZER_NAMES)
def test_every_initializer_is_a_good_name(name: str) -> None:
    assert RecurrentEncoderConfig(**MEMORY, initializer=name).initializer == name


@dataclass(frozen=True)
class Mine:
    output_dim: Any

    def build(self, framework: str) -> Any:
        raise AssertionError("never built")


@pytest.mark.parametrize("size", [7, np.int64(7), np.uint8(7)])
def test_any_integer_is_an_output_dim(size: Any) -> None:
    assert output_dim(Mine(size)) == 7
    assert type(output_dim(Mine(size))) is int


@pytest.mark.parametrize(
    ("size", "told"), [("7", "'7' of type str"), (7.0, "7.0 of type float"), (True, "True of type bool")]
)
def test_an_output_dim_that_is_no_integer_is_told_with_its_type(size: Any, told: str) -> None:
    with pytest.raises(ValueError, match=rf"Mine\.output_dim: expected an int, .*, got {told}"):
        output_dim(Mine(size))


@pytest.mark.parametrize("name", ["", None, 3, "not a name", "a.b"])
def test_what_is_no_name_of_a_framework_is_refused_with_those_there_are(name: Any) -> None:
    expected = (
        rf'framework: expected "torch" or "tf" \(a framework x is the package rlmodule_x\), got {name!r}$'
    )
    with pytest.raises(ValueError, match=expected):
        framework_module(name, "builder")
    with pytest.raises(ValueError, match=expected):
        MLPEncoderConfig(**MLP).build(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("TF", "tf"), ("Torch", "torch"), ("tf2", "tf"), ("pytorch", "torch"), ("TensorFlow", "tf")],
)
def test_another_spelling_of_a_framework_is_told_its_name(name: str, meant: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^framework: expected .*, got '{name}', did you mean '{meant}'\?$"
    ):
        framework_module(name, "builder")


def test_a_framework_of_ones_own_needs_only_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = ModuleType("rlmodule_tf2.builder")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "rlmodule_tf2" or None)
    monkeypatch.setattr("importlib.import_module", {"rlmodule_tf2.builder": loaded}.__getitem__)

    assert framework_module("tf2", "builder") is loaded


def test_one_of_ours_that_is_not_installed_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'rlmodule-algos\[tf\]' to train"):
        framework_module("tf", "builder")


def test_a_head_with_a_free_log_std_has_as_many_means_as_log_stds() -> None:
    with pytest.raises(ValueError, match=r"FreeLogStdHeadConfig: output_dim: expected an even number.*got 3"):
        FreeLogStdHeadConfig(input_dim=4, output_dim=3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_means_of_a_free_log_std_are_half_of_the_outputs(size: int) -> None:
    head = FreeLogStdHeadConfig(input_dim=4, output_dim=2 * size, hidden=(5,), activation="elu")
    assert head.mean == MLPHeadConfig(input_dim=4, output_dim=size, hidden=(5,), activation="elu")
    assert type(head.mean) is MLPHeadConfig
