"""The default modules with a memory, masks, images, nested observations and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from gymnasium import spaces

from rlmodule_core import (
    ActorCriticEncoderConfig,
    CNNEncoderConfig,
    ComplexEncoderConfig,
    ConvLayer,
    DistributionConfig,
    FlattenEncoderConfig,
    MLPEncoderConfig,
    MLPHeadConfig,
    NormalizerConfig,
    NumpyPolicy,
    OneHotEncoderConfig,
    RecurrentEncoderConfig,
    RLModuleConfig,
    distribution_config,
    initial_weights_from,
    register_class,
)
from rlmodule_core.model_config import output_dim
from rlmodule_core.nest import leaves
from rlmodule_specs import SpecError
from rlmodule_tf import TfActorCriticModule, TfActorModule
from rlmodule_tf._variables import _held_by
from rlmodule_tf.bridge import to_numpy, to_tensors
from rlmodule_tf.testing import TfRLModuleConformance

Array = npt.NDArray[Any]


def build(config: Any, seed: int = 0) -> Any:
    with initial_weights_from(seed):
        return config.build("tf")


def call(layer: Any, *nests: Any) -> Any:
    """Arrays in, arrays out; None stays."""
    return to_numpy(layer(*tensors(nests)))


def tensors(nests: Sequence[Any]) -> list[Any]:
    return [None if nest is None else to_tensors(nest) for nest in nests]


def weights(layer: tf.Module) -> dict[str, Array]:
    return {held.name: held.state.numpy() for held in _held_by(layer)}


def gradients(layer: Any, *nests: Any) -> dict[str, Array]:
    """Of all outputs, each with a weight of its own."""
    known = {held.name: held.variable for held in _held_by(layer) if held.learns}
    with tf.GradientTape() as tape:
        outs = leaves(layer(*tensors(nests)))
        weighted = [tf.reshape(out, [-1]) * np.linspace(-1.0, 2.0, int(tf.size(out))) for out in outs]
        total = tf.add_n([tf.reduce_sum(part) for part in weighted])
    found = zip(known, tape.gradient(total, list(known.values())), strict=True)
    return {name: np.asarray(tf.convert_to_tensor(part)) for name, part in found if part is not None}


VECTOR = spaces.Box(-5.0, 5.0, (3,))
IMAGE = spaces.Box(0, 255, (8, 8, 2), np.uint8)
NESTED = spaces.Dict({"image": IMAGE, "token": spaces.Discrete(4, start=1), "pair": spaces.Tuple([VECTOR])})
LEAVES = {
    ("image",): CNNEncoderConfig(
        image=(8, 8, 2), layers=(ConvLayer(channels=3, kernel=(3, 3), stride=(2, 2)),), scale=1 / 255
    ),
    ("token",): OneHotEncoderConfig(shape=(), sizes=(4,), start=(1,)),
    ("pair", 0): FlattenEncoderConfig(shape=(3,)),
}


def masked(space: spaces.Space[Any], size: int = 5) -> spaces.Dict:
    rest = space.spaces if isinstance(space, spaces.Dict) else {"vector": space}
    return spaces.Dict({"action_mask": spaces.MultiBinary(size), **rest})


class FourMethods:
    """A catalog of a user's own, who knows nothing of memory, masks and normalisation."""

    def __init__(self, observation_space: Any, action_space: Any, model_config_dict: dict[str, Any]) -> None:
        self.space, self.action_space = observation_space, action_space
        self.settings = {"cell": None, "shared": False, "normalize": False} | model_config_dict

    def get_actor_critic_encoder_config(self) -> Any:
        return ActorCriticEncoderConfig(base=self._encoder(), shared=self.settings["shared"])

    def get_pi_head_config(self) -> Any:
        size = self.get_action_dist_config().input_dim
        return MLPHeadConfig(input_dim=output_dim(self._encoder()), output_dim=size)

    def get_vf_head_config(self) -> Any:
        return MLPHeadConfig(input_dim=output_dim(self._encoder()), output_dim=1)

    def get_action_dist_config(self) -> DistributionConfig:
        return distribution_config(self.action_space)

    def _encoder(self) -> Any:
        if isinstance(self.space, spaces.Dict):
            known = LEAVES | {("vector",): FlattenEncoderConfig(shape=(3,))}
            leaves = tuple((path, leaf) for path, leaf in known.items() if path[0] in self.space.spaces)
            joined = sum(output_dim(leaf) for _, leaf in leaves)
            fusion = MLPEncoderConfig(input_dim=joined, hidden=(6,))
            base: Any = ComplexEncoderConfig(leaves=leaves, fusion=fusion)
        else:
            base = MLPEncoderConfig(input_dim=3, hidden=(6,)) if self.space == VECTOR else LEAVES["image",]
        cell = self.settings["cell"]
        return RecurrentEncoderConfig(base=base, cell=cell, hidden_dim=4) if cell else base


@register_class
class Catalog(FourMethods):
    """One that does."""

    @property
    def masks_actions(self) -> bool:
        return isinstance(self.space, spaces.Dict) and "action_mask" in self.space.spaces

    def get_normalizer_config(self) -> NormalizerConfig | None:
        if not self.settings["normalize"]:
            return None
        path = () if self.space == VECTOR else ("vector",) if "vector" in self.space.spaces else ("pair", 0)
        return NormalizerConfig(leaves=((path, (3,)),), clip=3.0)

    def get_encoder_config(self) -> Any:
        return self._encoder()


def make(
    space: spaces.Space[Any],
    cls: Any = TfActorCriticModule,
    *,
    actions: Any = None,
    catalog: Any = Catalog,
    seed: int = 0,
    **settings: Any,
) -> Any:
    config = RLModuleConfig(
        observation_space=space,
        action_space=actions or spaces.Discrete(5, start=2),
        model_config_dict=settings,
        catalog_class=catalog,
    )
    with initial_weights_from(seed):
        return cls(config)


def observations(space: spaces.Space[Any], *leading: int) -> Any:
    """Draws of a space, with leading axes; a mask allows two actions at least."""
    match space:
        case spaces.Dict():
            drawn = {key: observations(part, *leading) for key, part in space.spaces.items()}
            if "action_mask" in drawn:
                drawn["action_mask"][..., :2] = 1
            return drawn
        case spaces.Tuple():
            return tuple(observations(part, *leading) for part in space.spaces)
    space.seed(0)
    flat = np.stack([np.asarray(space.sample()) for _ in range(int(np.prod(leading)))])
    return flat.reshape(*leading, *flat.shape[1:])


def sequence(module: Any, space: spaces.Space[Any], rows: int, steps: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def draw(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: draw(child) for key, child in part.items()}
        return rng.normal(size=(rows, *part.shape)).astype(np.float32)

    return {"obs": observations(space, rows, steps), "state_in": draw(module.get_initial_state())}


def forward(module: Any, phase: str, batch: dict[str, Any]) -> dict[str, Any]:
    out = dict(getattr(module, f"forward_{phase}")({k: tensors([v])[0] for k, v in batch.items()}))
    out["inputs"] = out.pop("action_dist").inputs
    return {name: to_numpy(part) for name, part in out.items()}


def parts(nest: Any, select: Any) -> Any:
    if isinstance(nest, dict):
        return {key: parts(part, select) for key, part in nest.items()}
    return tuple(parts(part, select) for part in nest) if isinstance(nest, tuple) else nest[select]


def require_close(actual: Any, expected: Any) -> None:
    for one, other in zip(leaves(actual), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


# --- a memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_module_with_a_memory_takes_and_gives_the_states_of_its_encoders(shared: bool, cell: str) -> None:
    module = make(VECTOR, cell=cell, shared=shared)
    batch = sequence(module, VECTOR, rows=3, steps=4)

    assert module.is_stateful()
    assert set(module.get_initial_state()) == ({"actor"} if shared else {"actor", "critic"})
    assert set(module.get_initial_state()["actor"]) == ({"h", "c"} if cell == "lstm" else {"h"})
    trained = forward(module, "train", batch)
    actor, after = call(module.encoder.actor, batch["obs"], batch["state_in"]["actor"])
    require_close(trained["inputs"], call(module.pi, actor))
    require_close(trained["state_out"]["actor"], after)
    critic = actor if shared else call(module.encoder.critic, batch["obs"], batch["state_in"]["critic"])[0]
    require_close(trained["vf_preds"], call(module.vf, critic)[..., 0])
    assert trained["vf_preds"].shape == (3, 4)
    for phase in ("exploration", "inference"):
        acted = forward(module, phase, batch)
        require_close([acted["inputs"], acted["state_out"]], [trained["inputs"], trained["state_out"]])
        assert "vf_preds" not in acted


def test_acting_step_by_step_is_the_sequence_at_once_with_its_resets() -> None:
    module = make(VECTOR, cell="lstm")
    batch = sequence(module, VECTOR, rows=3, steps=4)
    batch["is_first"] = np.arange(4) == np.array([[0], [2], [9]])
    whole = forward(module, "train", batch)
    state, inputs = batch["state_in"], []
    for time in range(4):
        now = slice(time, time + 1)
        step = {"obs": batch["obs"][:, now], "is_first": batch["is_first"][:, now], "state_in": state}
        out = forward(module, "exploration", step)
        state = out["state_out"]
        inputs.append(out["inputs"])

    require_close(np.concatenate(inputs, axis=1), whole["inputs"])
    require_close(state, whole["state_out"])


def test_padding_changes_nothing_of_the_real_steps() -> None:
    space = masked(VECTOR)
    module = make(space, cell="gru", normalize=True)
    batch = sequence(module, space, rows=2, steps=4)
    batch["mask"] = np.arange(4) < np.array([[4], [2]])
    dirty = {**batch, "obs": {**batch["obs"], "vector": batch["obs"]["vector"].copy()}}
    dirty["obs"]["vector"][1, 2:] = np.nan

    one, other = forward(module, "train", batch), forward(module, "train", dirty)

    for name in ("inputs", "vf_preds", "state_out"):
        for clean, same in zip(leaves(one[name]), leaves(other[name]), strict=True):
            np.testing.assert_array_equal(clean, same)
            assert np.isfinite(clean).all()


@pytest.mark.parametrize("broken", ["state_in", "obs", "no state_in"])
def test_a_module_with_a_memory_asks_for_its_state_and_for_sequences(broken: str) -> None:
    module = make(VECTOR, cell="lstm")
    batch = sequence(module, VECTOR, rows=3, steps=4)
    match broken:
        case "state_in":
            batch["state_in"] = {"actor": batch["state_in"]["actor"]}
        case "obs":
            batch["obs"] = batch["obs"][:, 0]
        case _:
            del batch["state_in"]

    with pytest.raises(SpecError, match="obs" if broken == "obs" else "state_in"):
        forward(module, "inference", batch)


# --- action masks -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint8, np.float32])
@pytest.mark.parametrize("phase", ["train", "exploration", "inference"])
def test_a_mask_forbids_actions_in_every_phase_whatever_its_dtype(phase: str, dtype: Any) -> None:
    space = masked(VECTOR)
    module = make(space)
    obs = observations(space, 50)
    allowed = obs["action_mask"].astype(bool)
    free_obs = {**obs, "action_mask": np.ones_like(obs["action_mask"])}

    inputs = forward(module, phase, {"obs": {**obs, "action_mask": allowed.astype(dtype)}})["inputs"]

    free = forward(module, phase, {"obs": free_obs})["inputs"]
    assert (inputs[~allowed] == -(2.0**64)).all()
    np.testing.assert_allclose(inputs[allowed], free[allowed], rtol=1e-6)
    batch = {"obs": to_tensors(obs)}
    drawn = to_numpy(getattr(module, f"forward_{phase}")(batch)["action_dist"].sample()) - 2
    assert allowed[np.arange(50), drawn].all()


def test_the_mask_of_several_components_is_flat() -> None:
    space, actions = masked(VECTOR, size=5), spaces.MultiDiscrete([2, 3])
    module = make(space, actions=actions)
    obs = observations(space, 20)
    obs["action_mask"][:] = [0, 1, 1, 0, 0]

    drawn = module.forward_exploration({"obs": to_tensors(obs)})["action_dist"].sample()

    np.testing.assert_array_equal(to_numpy(drawn), [[1, 0]] * 20)


def test_the_mask_is_not_encoded_and_any_mapping_holds_it() -> None:
    space = masked(NESTED)
    module = make(space)
    obs = to_tensors(observations(space, 3))
    seen: list[Any] = []
    encoder, module.encoder = module.encoder, Watching(seen, module.encoder)

    out = module.forward_train({"obs": MappingProxyType(obs)})

    assert [sorted(keys) for keys in seen] == [["image", "pair", "token"]]
    module.encoder = encoder
    same = module.forward_train({"obs": obs})
    np.testing.assert_array_equal(to_numpy(out["action_dist"].inputs), to_numpy(same["action_dist"].inputs))


class Watching(tf.Module):
    """Notes the keys of what it encodes."""

    def __init__(self, seen: list[Any], encoder: Any) -> None:
        super().__init__()
        self.note, self.encoder = seen.append, encoder

    def __call__(self, obs: Any) -> Any:
        self.note(list(obs))
        return self.encoder(obs)


# --- running normalisation --------------------------------------------------------------------


@pytest.mark.parametrize("cls", [TfActorCriticModule, TfActorModule])
def test_observations_are_normalised_once_the_moments_are_updated_and_the_state_holds_them(cls: Any) -> None:
    module, plain = make(VECTOR, cls, normalize=True), make(VECTOR, cls)
    seen, x = observations(VECTOR, 40) + 100, observations(VECTOR, 6) + 100
    before = forward(module, "inference", {"obs": x})["inputs"]
    require_close(before, forward(plain, "inference", {"obs": x})["inputs"])

    module.update_normalizer(seen)
    plain.update_normalizer(seen)

    normal = np.clip((x - seen.mean(axis=0)) / seen.std(axis=0), -3.0, 3.0)
    expected = forward(plain, "inference", {"obs": normal})["inputs"]
    np.testing.assert_allclose(
        forward(module, "inference", {"obs": x})["inputs"], expected, rtol=1e-3, atol=1e-4
    )
    other = make(VECTOR, cls, normalize=True, seed=1)
    other.set_state(module.get_state())
    require_close(forward(other, "inference", {"obs": x}), forward(module, "inference", {"obs": x}))


def test_the_moments_of_a_nested_observation_leave_mask_and_other_leaves_alone() -> None:
    space = masked(NESTED)
    module = make(space, normalize=True)
    module.update_normalizer(observations(space, 30))

    assert module.get_state()["normalizer"]["moments"]["0"]["count"] == 30
    assert np.isfinite(forward(module, "train", {"obs": observations(space, 4)})["inputs"]).all()


@pytest.mark.parametrize("cls", [TfActorCriticModule, TfActorModule])
def test_the_numpy_form_of_a_vector_normalises_too(cls: Any) -> None:
    module = make(VECTOR, cls, normalize=True)
    x = observations(VECTOR, 6) * 7
    for seen in (None, observations(VECTOR, 9) * 3):
        if seen is not None:
            module.update_normalizer(seen)
        form = module.numpy_form()
        assert isinstance(form, NumpyPolicy)
        ours = form.forward_exploration({"obs": x})["action_dist"].inputs
        require_close(ours, forward(module, "exploration", {"obs": x})["inputs"])
        other = make(VECTOR, cls, normalize=True, seed=3).numpy_form()
        other.set_state(form.get_state())
        np.testing.assert_array_equal(other.forward_exploration({"obs": x})["action_dist"].inputs, ours)


@pytest.mark.parametrize("cls", [TfActorCriticModule, TfActorModule])
def test_a_memory_a_mask_an_image_and_nested_observations_have_no_numpy_form(cls: Any) -> None:
    assert isinstance(make(VECTOR, cls).numpy_form(), NumpyPolicy)
    assert make(VECTOR, cls, cell="gru").numpy_form() is None
    for space in (masked(VECTOR), IMAGE, NESTED):
        assert make(space, cls).numpy_form() is None


# --- a policy alone, and other people's parts -------------------------------------------------


def test_the_actor_alone_has_no_value_and_trains_what_it_acts_with() -> None:
    module = make(NESTED, TfActorModule)
    batch = {"obs": observations(NESTED, 4)}

    outs = [forward(module, phase, batch) for phase in ("train", "exploration", "inference")]

    assert [set(out) for out in outs] == [{"inputs"}] * 3
    require_close(outs[1:], [outs[0]] * 2)
    assert not any(name.startswith("vf") for name in weights(module))
    recurrent = make(VECTOR, TfActorModule, cell="lstm")
    assert set(recurrent.get_initial_state()) == {"h", "c"}
    out = forward(recurrent, "train", sequence(recurrent, VECTOR, rows=2, steps=3))
    assert out["inputs"].shape == (2, 3, 5)
    assert set(out["state_out"]) == {"h", "c"}


def test_a_catalog_that_knows_nothing_of_memory_masks_and_normalisation_still_works() -> None:
    module = make(VECTOR, catalog=FourMethods)

    assert not module.is_stateful()
    assert isinstance(module.numpy_form(), NumpyPolicy)
    module.update_normalizer(observations(VECTOR, 3))
    assert forward(module, "train", {"obs": observations(VECTOR, 3)})["vf_preds"].shape == (3,)
    with pytest.raises(ValueError, match=r"FourMethods has no get_encoder_config.*add it"):
        make(VECTOR, TfActorModule, catalog=FourMethods)


@pytest.mark.parametrize("space", [IMAGE, NESTED], ids=["image", "nested"])
@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_images_and_nested_observations_have_one_value_a_row(space: Any, leading: tuple[int, ...]) -> None:
    module = make(space)
    obs = observations(space, *leading)

    out = forward(module, "train", {"obs": obs})

    assert out["vf_preds"].shape == leading
    assert out["inputs"].shape == (*leading, 5)
    one = forward(module, "train", {"obs": parts(obs, slice(1, 2))})
    require_close(one["inputs"][0], out["inputs"][1])


# --- the whole contract -----------------------------------------------------------------------


class Conformance(TfRLModuleConformance):
    """The default module with one setting or another."""

    arguments: Any = (VECTOR,)
    settings: dict[str, Any] = {}  # noqa: RUF012

    def make_module(self) -> Any:
        return make(*self.arguments, **self.settings)


class TestLSTM(Conformance):
    settings = {"cell": "lstm"}  # noqa: RUF012


class TestGRUShared(Conformance):
    settings = {"cell": "gru", "shared": True}  # noqa: RUF012


class TestImage(Conformance):
    arguments = (IMAGE,)


class TestMaskedNested(Conformance):
    arguments = (masked(NESTED),)
    settings = {"cell": "lstm", "normalize": True}  # noqa: RUF012


class TestNormalizer(Conformance):
    settings = {"normalize": True}  # noqa: RUF012


class TestActor(Conformance):
    arguments = (masked(VECTOR), TfActorModule)
    settings = {"normalize": True}  # noqa: RUF012


class TestRecurrentActor(Conformance):
    arguments = (NESTED, TfActorModule)
    settings = {"cell": "gru"}  # noqa: RUF012
