"""Modules as checkpoints: what is written, what is followed, what is refused."""

from __future__ import annotations

import enum
import json
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces

from rlmodule_core import (
    Batch,
    CheckpointError,
    NumpyCategorical,
    NumpyRLModule,
    Output,
    RLModule,
    RLModuleConfig,
    SingleAgentRLModuleSpec,
    State,
    register_class,
    write_checkpoint,
)
from rlmodule_core.bc_sizes import discrete_bc_sizes
from rlmodule_core.class_names import class_name, resolve_class

OBS = spaces.Dict(
    {"camera/front": spaces.Box(0, 255, (2, 2), dtype=np.uint8), "arm": spaces.Box(-1, 1, (3,))}
)


class Scaled(NumpyRLModule):
    """Two actions whose logits are one weight."""

    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        self.w = np.zeros(2, np.float32)

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return {"action_dist": NumpyCategorical(self.w[None])}

    _forward_inference = _forward_exploration

    def get_state(self) -> State:
        return {"w": self.w.copy()}

    def set_state(self, state: State) -> None:
        if set(state) != {"w"}:
            raise ValueError(f"expected w, got {sorted(state)}")
        self.w = np.array(state["w"])


class Size(enum.IntEnum):
    SMALL = 3


class Name(enum.StrEnum):
    RELU = "relu"


class Filter(NamedTuple):
    channels: int


class Half(float):
    pass


class Casting(Scaled):
    def set_state(self, state: State) -> None:
        self.w = np.array(state["w"], np.float32)


class Wider(Scaled):
    def __init__(self, config: RLModuleConfig, width: int) -> None:
        super().__init__(config)


class Picky(Scaled):
    def __init__(self, config: RLModuleConfig) -> None:
        super().__init__(config)
        if config.model_config_dict.get("refuse"):
            raise RuntimeError("not today")


def config(**model: Any) -> RLModuleConfig:
    return RLModuleConfig(
        observation_space=OBS, action_space=spaces.Discrete(2, start=1), model_config_dict=model
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    module = Scaled(config(filters=[(16, 4), (32, 2)], scale=0.1, none=None, nested={"a": ()}))
    module.w[:] = 3, 4
    return module.save_to_checkpoint(tmp_path / "module")


# --- what comes back --------------------------------------------------------------------------


def test_a_class_loads_what_it_saved_with_spaces_settings_and_weights(saved: Path) -> None:
    module = Scaled.from_checkpoint(saved)

    assert type(module) is Scaled
    assert module.w.tolist() == [3, 4]
    assert module.config == config(filters=[(16, 4), (32, 2)], scale=0.1, none=None, nested={"a": ()})
    assert isinstance(module.config.model_config_dict["filters"][0], tuple)
    assert module.config.action_space.start == 1


@pytest.mark.parametrize("base", [RLModule, NumpyRLModule])
def test_a_base_follows_the_name_only_of_a_class_that_is_passed_trusted_or_registered(
    saved: Path, base: type[RLModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="Scaled is neither ours nor registered; pass the class"):
        base.from_checkpoint(saved)
    assert isinstance(base.from_checkpoint(saved, module_class=Scaled), Scaled)
    top = Scaled.__module__.partition(".")[0]
    assert isinstance(base.from_checkpoint(saved, trusted_packages=(top,)), Scaled)
    monkeypatch.setattr("rlmodule_core.class_names._registered", {})
    assert register_class(Scaled) is Scaled
    assert isinstance(base.from_checkpoint(saved), Scaled)


def test_a_module_replaces_its_older_checkpoint_but_no_other_folder(saved: Path, tmp_path: Path) -> None:
    module = Scaled.from_checkpoint(saved)
    module.w[:] = 5
    module.save_to_checkpoint(str(saved))
    assert Scaled.from_checkpoint(saved).w.tolist() == [5, 5]

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    with pytest.raises(CheckpointError, match=r"it holds notes\.txt"):
        module.save_to_checkpoint(tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep me"


# --- what is refused when saving --------------------------------------------------------------


def test_a_class_inside_a_function_is_refused_with_the_reason(tmp_path: Path) -> None:
    class Local(Scaled):
        pass

    with pytest.raises(CheckpointError, match=r"Local is defined inside a function.*move it to a module"):
        Local(config()).save_to_checkpoint(tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


def test_a_class_whose_name_now_means_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = Scaled(config())
    monkeypatch.setattr(sys.modules[__name__], "Scaled", Picky)

    with pytest.raises(CheckpointError, match="Scaled is another class now"):
        module.save_to_checkpoint(tmp_path / "module")


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (lambda: Scaled(None), "built with config=None"),  # type: ignore[arg-type]
        (lambda: Wider(config(), 3), r"needs more than the config \(missing a required argument: 'width'\)"),
        (
            lambda: Scaled(config(f=np.tanh)),
            r"model_config_dict\.f: <ufunc 'tanh'> \(ufunc\) cannot be written",
        ),
        (lambda: Scaled(config(x=[1, float("nan")])), r"model_config_dict\.x\[1\]: nan"),
        (lambda: Scaled(config(x={1: 2})), r"model_config_dict\.x: \{1: 2\}"),
        (
            lambda: Scaled(RLModuleConfig(observation_space=spaces.Text(3))),
            r"space_to_dict: Text.* is not supported",
        ),
    ],
)
def test_what_could_not_be_built_again_is_refused_before_anything_is_written(
    tmp_path: Path, module: Any, reason: str
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        module().save_to_checkpoint(tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "found", "plain"),
    [
        (Size.SMALL, "Size", "int"),
        (Name.RELU, "Name", "str"),
        (Filter(16), "Filter", "tuple"),
        (Half(0.5), "Half", "float"),
        (OrderedDict(a=1), "OrderedDict", "dict"),
        (defaultdict(int, a=1), "defaultdict", "dict"),
        (MappingProxyType({"a": 1}), "mappingproxy", "dict"),
    ],
)
def test_a_setting_that_would_come_back_as_another_type_is_refused_with_its_path_and_the_way_out(
    tmp_path: Path, value: Any, found: str, plain: str
) -> None:
    advice = rf"as a {found} it would come back as a {plain}: pass {plain}\(\.\.\.\) of it"
    for settings, where in (({"x": value}, "x"), ({"x": [(0, value)]}, r"x\[0\]\[1\]")):
        with pytest.raises(CheckpointError, match=rf"model_config_dict\.{where}: .*\({found}\).*{advice}"):
            Scaled(config(**settings)).save_to_checkpoint(tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_would_come_back_as_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model_config_dict\.x: \{<Name\.RELU.*keys of type str"):
        config(x={Name.RELU: 1}).to_dict()


def test_settings_come_back_with_the_types_that_they_had() -> None:
    given = {"a": [1, True, None, 0.5, "s", (1, (2,), [3]), {"b": (), "c": {}}], "d": -0.0, "e": 10**30}

    back = RLModuleConfig.from_dict(json.loads(json.dumps(config(**given).to_dict()))).model_config_dict

    def typed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return dict, [(key, typed(part)) for key, part in value.items()]
        return (type(value), [typed(p) for p in value] if isinstance(value, (list, tuple)) else repr(value))

    assert typed(back) == typed(given)


# --- what is refused when loading -------------------------------------------------------------


def rewritten(path: Path, **changes: Any) -> Path:
    """Write a checkpoint with other entries in its recipe, hashes and all."""
    spec = Scaled.from_checkpoint(path)
    state = {
        "spec": SingleAgentRLModuleSpec.from_module(spec).to_dict() | changes,
        "weights": spec.get_state(),
        "dtypes": {"w": "float32"},
    }
    other = path.with_name("rewritten")
    write_checkpoint(other, state, kind="rl_module", replace=True)
    return other


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "builtins:eval",
        "subprocess:Popen",
        "collections:OrderedDict",
        "rlmodule_core.frameworks:importlib.import_module",
        "rlmodule_core.module:abc.ABC",
        "rlmodule_core:RLModule",
        "rlmodule_core.nowhere:RLModule",
        "rlmodule_core.module:Nothing",
        "rlmodule_algos.__main__:RLModule",
        "rlmodule_core",
        ":",
        "",
        7,
        ["os"],
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_of_it_is_imported(saved: Path, name: Any) -> None:
    hostile = rewritten(saved, module_class=name)
    before = set(sys.modules)

    with pytest.raises(CheckpointError, match="module_class"):
        RLModule.from_checkpoint(hostile)
    assert {new for new in set(sys.modules) - before if not new.startswith("rlmodule_core")} == set()


def test_a_module_whose_import_has_effects_is_not_imported(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "canary.py").write_text("open('sang', 'w')\nclass Module: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CheckpointError, match="canary:Module is neither ours nor registered"):
        RLModule.from_checkpoint(rewritten(saved, module_class="canary:Module"))
    with pytest.raises(CheckpointError, match="canary:Module is neither ours nor registered"):
        Scaled.from_checkpoint(rewritten(saved, catalog_class="canary:Module"))
    assert not (tmp_path / "sang").exists()


def test_a_class_of_another_family_and_a_catalog_that_is_none_are_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Scaled'>, which is no Picky"):
        Picky.from_checkpoint(saved, module_class=Scaled)
    ours = class_name(RLModuleConfig)
    with pytest.raises(CheckpointError, match=r"catalog_class: .*RLModuleConfig is not a catalog"):
        Scaled.from_checkpoint(rewritten(saved, catalog_class=ours))


def test_a_dtype_that_set_state_would_lose_is_refused_and_named(saved: Path, tmp_path: Path) -> None:
    module = Casting(config())
    module.w = module.w.astype(np.float64)

    with pytest.raises(CheckpointError, match=r"change their dtype: w is float64 in the file, float32 in"):
        Casting.from_checkpoint(module.save_to_checkpoint(tmp_path / "double"))
    half = Scaled(config())
    half.w = half.w.astype(np.float16)
    assert Scaled.from_checkpoint(half.save_to_checkpoint(tmp_path / "half")).w.dtype == np.float16


def test_weights_a_recipe_or_a_constructor_that_fail_are_one_error_with_the_folder(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"rewritten: .*expected the keys"):
        Scaled.from_checkpoint(rewritten(saved, extra=1))
    refusing = rewritten(saved, model_config_dict={"refuse": True})
    with pytest.raises(CheckpointError, match=r"cannot be built from its recipe: RuntimeError: not today"):
        Picky.from_checkpoint(refusing)
    write_checkpoint(saved.with_name("odd"), {"spec": json.loads("{}")}, kind="rl_module")
    with pytest.raises(CheckpointError, match=r"odd: .*expected the keys"):
        Scaled.from_checkpoint(saved.with_name("odd"))
    write_checkpoint(saved.with_name("other"), {}, kind="other")
    with pytest.raises(CheckpointError, match="a checkpoint of 'other', expected one of 'rl_module'"):
        Scaled.from_checkpoint(saved.with_name("other"))


def test_a_recipe_survives_json_and_unset_fields_stay_unset() -> None:
    full = SingleAgentRLModuleSpec.from_module(Scaled(config(x=(1, 2))))
    part = SingleAgentRLModuleSpec(action_space=spaces.Discrete(3))

    read = SingleAgentRLModuleSpec.from_dict(json.loads(json.dumps(full.to_dict())), module_class=Scaled)

    assert read == full
    assert SingleAgentRLModuleSpec.from_dict(json.loads(json.dumps(part.to_dict()))) == part
    with pytest.raises(ValueError, match=r"expected the keys .*got \['module_clas'\]"):
        SingleAgentRLModuleSpec.from_dict({"module_clas": 1})


def test_a_registered_class_must_have_a_name_that_others_can_use() -> None:
    class Local(Scaled):
        pass

    with pytest.raises(ValueError, match=r"register_class: .*inside a function"):
        register_class(Local)
    assert resolve_class("rlmodule_core.module:RLModule", what="x") is RLModule


@register_class
class Decorated(Scaled):
    """Registered while it is made, before its module knows its name."""


def test_a_class_can_be_registered_as_it_is_made(tmp_path: Path) -> None:
    path = Decorated(config()).save_to_checkpoint(tmp_path / "module")
    assert type(RLModule.from_checkpoint(path)) is Decorated


def test_a_class_of_a_script_must_be_passed_and_the_error_says_no_more_than_that(saved: Path) -> None:
    with pytest.raises(
        CheckpointError, match="__main__:Scaled was defined in a script; pass the class"
    ) as caught:
        RLModule.from_checkpoint(rewritten(saved, module_class="__main__:Scaled"))
    assert "trusted" not in str(caught.value)


# --- the sizes of the smallest module ---------------------------------------------------------


def test_the_sizes_of_the_bc_module_are_read_from_spaces_and_settings() -> None:
    good = RLModuleConfig(
        observation_space=spaces.Box(-1, 1, (4,)),
        action_space=spaces.Discrete(2),
        model_config_dict={"fcnet_hiddens": (64, 32)},
    )
    assert discrete_bc_sizes(good, where="M") == (4, 64, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation_space": spaces.Discrete(3)}, r"M: observation space: Discrete\(3\) is not supported"),
        (
            {"observation_space": spaces.Box(0, 1, (2, 2))},
            "Known are: Box of rank 1. Write a module of your own",
        ),
        ({"observation_space": None}, "M: observation space: None is not supported"),
        (
            {"action_space": spaces.MultiBinary(2)},
            r"M: action space: MultiBinary\(2\) .* Known are: Discrete",
        ),
        ({"model_config_dict": {}}, r"fcnet_hiddens.*the hidden layer, \[64\] say, got None"),
        ({"model_config_dict": {"fcnet_hiddens": []}}, r"got \[\]"),
        ({"model_config_dict": {"fcnet_hiddens": [0]}}, r"got \[0\]"),
        ({"model_config_dict": {"fcnet_hiddens": 64}}, "got 64"),
        ({"model_config_dict": {"fcnet_hiddens": [True]}}, r"got \[True\]"),
    ],
)
def test_the_bc_module_says_in_words_what_it_cannot_be_made_from(
    change: dict[str, Any], message: str
) -> None:
    fields: dict[str, Any] = {
        "observation_space": spaces.Box(-1, 1, (4,)),
        "action_space": spaces.Discrete(2),
        "model_config_dict": {"fcnet_hiddens": [64]},
    }
    with pytest.raises(ValueError, match=message):
        discrete_bc_sizes(RLModuleConfig(**(fields | change)), where="M")


def deep(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "changes",
    [
        {"observation_space": {"type": "Box", "shape": [2], "dtype": "f4,(", "low": 0, "high": 1}},
        {"observation_space": {"type": "Box", "shape": [10**13], "dtype": "float32", "low": 0, "high": 1}},
        {"observation_space": {"type": "Tuple", "spaces": deep(200)}},
    ],
)
def test_a_recipe_that_is_too_deep_too_large_or_odd_is_a_checkpoint_error(
    saved: Path, changes: dict[str, Any]
) -> None:
    with pytest.raises(CheckpointError, match="rewritten: "):
        Scaled.from_checkpoint(rewritten(saved, **changes))


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(saved)
    module = Scaled.from_checkpoint(link)

    for number in (7, 8):
        module.w[:] = number
        module.save_to_checkpoint(link)

    assert link.is_symlink()
    assert Scaled.from_checkpoint(saved).w.tolist() == [8, 8]


def test_trusted_packages_given_as_one_str_is_refused_in_words(saved: Path) -> None:
    with pytest.raises(
        CheckpointError, match="trusted_packages: expected a tuple of names, got the str 'mods'"
    ):
        RLModule.from_checkpoint(saved, trusted_packages="mods")  # type: ignore[arg-type]
