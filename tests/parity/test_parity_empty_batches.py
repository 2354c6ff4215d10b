"""No rows in, no rows out: every encoder, in both frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlmodule_core import (
    CNNEncoderConfig,
    ComplexEncoderConfig,
    ConvLayer,
    EmbeddingEncoderConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
    framework_module,
)

frameworks = pytest.mark.parametrize("framework", ["torch", "tf"])
CNN = CNNEncoderConfig(image=(7, 6, 3), layers=(ConvLayer(channels=4, kernel=(3, 3)),), hidden=(5,))
CLASSES: dict[str, Any] = {"shape": (2,), "sizes": (3, 4), "start": (0, 1)}


@frameworks
@pytest.mark.parametrize(
    ("config", "shape"),
    [
        pytest.param(CNN, (7, 6, 3), id="images"),
        pytest.param(MLPEncoderConfig(input_dim=3, hidden=(4,), layer_norm=True), (3,), id="dense"),
        pytest.param(MLPHeadConfig(input_dim=3, output_dim=2), (3,), id="head"),
        pytest.param(FlattenEncoderConfig(shape=(2, 2)), (2, 2), id="flat"),
        pytest.param(OneHotEncoderConfig(**CLASSES), (2,), id="one-hot"),
        pytest.param(EmbeddingEncoderConfig(**CLASSES, dim=3), (2,), id="embedding"),
        pytest.param(ComplexEncoderConfig(leaves=(((), CNN),)), (7, 6, 3), id="nested"),
    ],
)
@pytest.mark.parametrize("leading", [(0,), (0, 3), (2, 0)])
def test_no_observation_gives_no_features(
    framework: str, config: Any, shape: tuple[int, ...], leading: tuple[int, ...]
) -> None:
    bridge = framework_module(framework, "bridge")

    features = config.build(framework)(bridge.to_tensors(np.zeros((*leading, *shape), np.float32)))

    assert tuple(features.shape) == (*leading, config.output_dim)


@frameworks
@pytest.mark.parametrize("flags", [0, 1, 2])
@pytest.mark.parametrize("burn_in", [0, 2])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("rows", "steps"), [(0, 4), (0, 1), (2, 0), (0, 0)])
def test_sequences_without_rows_or_steps_leave_the_state_as_it_was(
    framework: str, flags: int, burn_in: int, cell: Any, rows: int, steps: int
) -> None:
    bridge = framework_module(framework, "bridge")
    base = MLPEncoderConfig(input_dim=3, hidden=(4,))
    config = RecurrentEncoderConfig(base=base, cell=cell, hidden_dim=5, burn_in=burn_in)
    state = {name: np.full((rows, 5), 0.5, np.float32) for name in config.initial_state()}
    columns = [np.zeros((rows, steps, 3), np.float32), state, *[np.ones((rows, steps), bool)] * flags]

    features, after = config.build(framework)(*map(bridge.to_tensors, columns))

    assert tuple(features.shape) == (rows, steps, 5)
    for name, part in state.items():
        np.testing.assert_array_equal(bridge.to_numpy(after[name]), part)
