"""Any observation space: a working encoder, or the documented error when it is built, and nothing else."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlmodule_catalogs import PPOCatalog
from rlmodule_core import UnsupportedSpaceError, framework_module
from rlmodule_core.nest import leaves, map_nest

ROWS, STEPS = 2, 3
SIDES = st.integers(0, 12) | st.integers(1, 4)
DTYPES = ["float32", "float64", "float16", "uint8", "int8", "int32", "int64", "uint16", "bool"]
KEYS = st.sampled_from(["a", "b", "A", "0", "a.b", "keys", "übung", "weight", "long name"])


def box(shape: list[int], dtype: str, unbounded: bool) -> spaces.Box:
    kind: Any = np.dtype(dtype).type
    low, high = {"float": (-3, 3), "bool": (0, 1)}.get(dtype.rstrip("0123456789"), (0, 120))
    if unbounded and dtype.startswith("float"):
        return spaces.Box(-np.inf, np.inf, tuple(shape), kind)
    return spaces.Box(low, high, tuple(shape), kind)


def many_classes(sizes: list[int], start: int) -> spaces.MultiDiscrete:
    return spaces.MultiDiscrete(np.array(sizes), start=np.full(len(sizes), start))


IMAGES = st.tuples(st.integers(5, 14), st.integers(5, 14), st.integers(1, 4)).map(list)
LEAVES = (
    st.builds(box, IMAGES | IMAGES.map(lambda shape: shape[::-1]), st.sampled_from(DTYPES), st.just(False))
    | st.builds(box, st.lists(SIDES, max_size=4), st.sampled_from(DTYPES), st.booleans())
    | st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), st.integers(-3, 3))
    | st.builds(many_classes, st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(-2, 2))
    | st.builds(spaces.MultiBinary, st.integers(1, 5) | st.lists(st.integers(1, 3), min_size=1, max_size=3))
)
UNSUPPORTED = st.sampled_from(
    [
        spaces.Text(4),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.OneOf([spaces.Discrete(2), spaces.Box(-1, 1, (1,))]),
        spaces.Graph(spaces.Box(-1, 1, (2,)), None),
        spaces.Dict({}),
        spaces.Tuple([]),
    ]
)
ANY = st.one_of(*[LEAVES] * 29, UNSUPPORTED)


def nests(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[gym.Space[Any]]:
    return st.builds(spaces.Dict, st.dictionaries(KEYS, inner, min_size=1, max_size=4)) | st.builds(
        spaces.Tuple, st.lists(inner, min_size=1, max_size=4)
    )


SPACES: st.SearchStrategy[gym.Space[Any]] = ANY | nests(ANY) | nests(nests(ANY) | ANY)
MODELS = st.fixed_dictionaries(
    {
        "fcnet_hiddens": st.sampled_from([[], [4]]),
        "initializer": st.just("xavier_uniform"),
        "use_gru": st.booleans(),
    },
    optional={
        "fcnet_layer_norm": st.booleans(),
        "conv_layer_norm": st.booleans(),
        "embedding_dim": st.integers(1, 5),
        "encoder_latent_dim": st.integers(1, 4),
    },
)


def draws(space: Any, leading: tuple[int, ...]) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: draws(part, leading) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(draws(part, leading) for part in space.spaces)
    flat = np.stack([np.asarray(space.sample()) for _ in range(ROWS * STEPS)])
    return flat[: int(np.prod(leading))].reshape(*leading, *flat.shape[1:])


def torch_outputs_and_gradients(encoder: Any, given: list[Any]) -> tuple[list[Any], list[Any]]:
    outs = leaves(encoder(*given))
    total = torch.stack([out.sum() for out in outs]).sum()
    parameters = list(encoder.parameters())
    moved = torch.autograd.grad(total, parameters) if parameters else ()
    return [out.detach().numpy() for out in outs], [part.numpy() for part in moved]


def tf_outputs_and_gradients(encoder: Any, given: list[Any]) -> tuple[list[Any], list[Any]]:
    with tf.GradientTape() as tape:
        outs = leaves(encoder(*given))
        total = tf.add_n([tf.reduce_sum(out) for out in outs])
    found = tape.gradient(total, list(encoder.trainable_variables))
    return [out.numpy() for out in outs], [tf.convert_to_tensor(part).numpy() for part in found]


def has_an_encoder(space: gym.Space[Any]) -> bool:
    """What the page says: arrays that are not empty, and nests of them that are not empty."""
    match space:
        case spaces.Dict() | spaces.Tuple():
            parts = list(space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces)
            return bool(parts) and all(has_an_encoder(part) for part in parts)
        case spaces.Box() | spaces.MultiBinary() | spaces.MultiDiscrete():
            return 0 not in space.shape
    return isinstance(space, spaces.Discrete)


def encode_any(framework: str, space: gym.Space[Any], model: dict[str, Any]) -> None:
    catalog = PPOCatalog(space, spaces.Discrete(2), with_effect(space, model))
    if not has_an_encoder(space):
        with pytest.raises(UnsupportedSpaceError, match="observation space"):
            catalog.get_encoder_config()
        return
    config: Any = catalog.get_encoder_config()
    require_works(framework, space, config, config.build(framework))


def with_effect(space: gym.Space[Any], model: dict[str, Any]) -> dict[str, Any]:
    """Return the settings without those that the catalog refuses as they would change nothing."""
    told = ""
    try:
        PPOCatalog(space, spaces.Discrete(2), model)
    except ValueError as error:
        told = str(error)
    kept = {name: value for name, value in model.items() if f" {name}: " not in told}
    assert not told or ("model_config_dict: without effect" in told and len(kept) < len(model))
    return kept


def require_works(framework: str, space: gym.Space[Any], config: Any, encoder: Any) -> None:
    space.seed(0)
    state = encoder.initial_state()
    leading = (ROWS, STEPS) if state else (ROWS,)
    batch = [draws(space, leading)]
    if state:
        batch.append(map_nest(lambda part: np.stack([part] * ROWS), state))

    run = torch_outputs_and_gradients if framework == "torch" else tf_outputs_and_gradients
    outs, moved = run(encoder, framework_module(framework, "bridge").to_tensors(batch))

    assert outs[0].shape == (*leading, config.output_dim)
    assert all(np.isfinite(part).all() for part in [*outs, *moved])


relaxed = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=relaxed)
@given(SPACES, MODELS)
def test_torch_encodes_any_space_or_says_at_once_that_it_cannot(
    space: gym.Space[Any], model: dict[str, Any]
) -> None:
    encode_any("torch", space, model)


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=relaxed)
@given(SPACES, MODELS)
def test_tensorflow_encodes_any_space_or_says_at_once_that_it_cannot(
    space: gym.Space[Any], model: dict[str, Any]
) -> None:
    encode_any("tf", space, model)


@pytest.mark.parametrize("framework", ["torch", "tf"])
def test_the_draws_hold_spaces_that_work_and_spaces_that_are_refused(framework: str) -> None:
    encode_any(framework, spaces.Box(-1, 1, (2,)), {})
    with pytest.raises(UnsupportedSpaceError, match="Override Catalog"):
        PPOCatalog(spaces.Tuple([spaces.Text(3)]), spaces.Discrete(2), {}).get_encoder_config()
