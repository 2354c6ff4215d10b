"""TorchRLModule: modes, gradients, state, copies; checked on calls of every kind."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from rlmodule_core import Batch, Output, RLModuleConfig
from rlmodule_core.state import flatten_state, nest_state
from rlmodule_specs import SpecError
from rlmodule_torch import TorchCategorical, TorchRLModule

CONFIG = RLModuleConfig(observation_space=spaces.Box(-1, 1, (3,)), action_space=spaces.Discrete(2))
OBS = torch.ones(4, 3)


class Linear(TorchRLModule):
    """One layer; notes in which mode and with which gradient mode each forward ran."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.layer = nn.Linear(3, 2)
        self.notes: list[tuple[bool, bool]] = []

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        self.notes.append((self.training, torch.is_grad_enabled()))
        if kwargs.get("fail"):
            raise RuntimeError("in the middle")
        return {"action_dist": TorchCategorical(self.layer(batch["obs"]))}

    def _forward_exploration(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch, **kwargs)

    def _forward_inference(self, batch: Batch, **kwargs: Any) -> Output:
        return self._forward_train(batch, **kwargs)


class Dropping(Linear):
    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3))

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        assert self.inner[0].training == self.inner[1].training == self.training
        return super()._forward_train({"obs": self.inner(batch["obs"])}, **kwargs)


class Expanding(Linear):
    """Has a buffer whose elements are one number in memory."""

    rows: Tensor

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.base = torch.zeros(1)
        self.register_buffer("rows", self.base.expand(3))


class Functional(Linear):
    """Asks for the mode itself, as `F.dropout(x, training=self.training)` does."""

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        dropped = nn.functional.dropout(batch["obs"], 0.5, training=self.training)
        return super()._forward_train({"obs": dropped}, **kwargs)


MODULES = [Linear, Dropping, Functional]
PHASES = {"train": (True, True), "exploration": (False, False), "inference": (False, False)}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("start_training", [True, False])
@pytest.mark.parametrize("cls", MODULES)
def test_each_phase_has_its_mode_and_gradient_and_what_was_found_is_restored(
    cls: Any, start_training: bool, phase: str
) -> None:
    module = cls().train(start_training)
    if cls is Dropping:
        module.inner[1].training = not start_training  # modes may differ from layer to layer
    before = [part.training for part in module.modules()]

    getattr(module, f"forward_{phase}")({"obs": OBS})
    with pytest.raises(RuntimeError, match="in the middle"):
        getattr(module, f"forward_{phase}")({"obs": OBS}, fail=True)

    assert module.notes == [PHASES[phase]] * 2
    assert [part.training for part in module.modules()] == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("cls", [Dropping, Functional])
def test_dropout_acts_in_training_alone(cls: Any) -> None:
    torch.manual_seed(0)
    module = cls()
    obs = torch.randn(64, 3)

    def inputs(phase: str) -> Tensor:
        result: Tensor = getattr(module, f"forward_{phase}")({"obs": obs})["action_dist"].inputs
        return result.detach()

    assert not torch.equal(inputs("train"), inputs("train"))
    for phase in ("exploration", "inference"):
        assert torch.equal(inputs(phase), inputs(phase))


def test_a_layer_exchanged_later_is_in_the_mode_of_the_phase_too() -> None:
    module = Linear()
    module.layer = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))  # type: ignore[assignment]
    obs = torch.randn(64, 3)

    one, two = (module.forward_inference({"obs": obs})["action_dist"].inputs for _ in range(2))

    assert torch.equal(one, two)
    assert not one.eq(0).any()
    assert module.forward_train({"obs": obs})["action_dist"].inputs.eq(0).any()


def test_layers_put_in_deep_inside_and_parametrised_ones_are_in_the_mode_of_the_phase() -> None:
    module = Linear()
    module.layer = nn.Sequential(nn.Linear(3, 2))  # type: ignore[assignment]
    obs = torch.randn(64, 3)
    module.forward_inference({"obs": obs})
    module.layer.append(nn.Dropout(0.5))  # type: ignore[operator]

    assert not module.forward_inference({"obs": obs})["action_dist"].inputs.eq(0).any()
    assert module.forward_train({"obs": obs})["action_dist"].inputs.eq(0).any()

    module.layer[0] = nn.utils.spectral_norm(nn.Linear(3, 2))  # type: ignore[operator]
    found = [module.forward_inference({"obs": obs})["action_dist"].inputs for _ in range(2)]
    assert torch.equal(*found)  # its vectors move in training alone


@pytest.mark.parametrize("cls", MODULES)
def test_only_training_carries_a_gradient(cls: Any) -> None:
    module = cls()

    for phase, (_, gradient) in PHASES.items():
        inputs = getattr(module, f"forward_{phase}")({"obs": OBS})["action_dist"].inputs
        assert inputs.requires_grad is gradient


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("cls", MODULES)
def test_a_caller_without_gradient_stays_without_and_gets_none(cls: Any, phase: str) -> None:
    module = cls()
    forward = getattr(module, f"forward_{phase}")

    with torch.no_grad():
        inputs = forward({"obs": OBS})["action_dist"].inputs
        assert not torch.is_grad_enabled()
        with pytest.raises(RuntimeError, match="in the middle"):
            forward({"obs": OBS}, fail=True)
        assert not torch.is_grad_enabled()

    assert not inputs.requires_grad
    assert [gradient for _, gradient in module.notes] == [False, False]
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "remake",
    [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m],
    ids=["copy", "pickle", "-"],
)
def test_batches_are_checked_at_calls_1_2_and_1000_also_of_copies(remake: Any) -> None:
    module = remake(Linear())
    for call in range(1, 1001):
        if call in (1, 2, 1000):
            with pytest.raises(SpecError, match=r"torch \[\.\.\., 3\].*\[4, 5\]"):
                module.forward_inference({"obs": torch.ones(4, 5)})
    with pytest.raises(SpecError, match="expected torch"):
        module.forward_inference({"obs": np.ones((4, 3), np.float32)})
    assert module.notes == []


@pytest.mark.parametrize("remake", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_computes_alike_with_weights_of_its_own(remake: Any) -> None:
    module = Linear()
    other = remake(module)

    def inputs(of: Any) -> Tensor:
        result: Tensor = of.forward_inference({"obs": OBS})["action_dist"].inputs
        return result

    torch.testing.assert_close(inputs(other), inputs(module))
    before = inputs(module).clone()
    with torch.no_grad():
        other.layer.weight.zero_()
    torch.testing.assert_close(inputs(module), before)


class Mixed(TorchRLModule):
    """Weights of several types, a buffer, a nested layer and a scalar."""

    def __init__(self, config: RLModuleConfig | None = None) -> None:
        super().__init__(config)
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.short = nn.Parameter(torch.randn(3).to(torch.bfloat16))
        self.inner = nn.ModuleDict({"norm": nn.BatchNorm1d(3), "wide": nn.Linear(2, 2).double()})

    def _forward_train(self, batch: Batch, **kwargs: Any) -> Output:
        return {}

    _forward_exploration = _forward_inference = _forward_train


def test_a_state_is_nested_numpy_arrays_that_are_copies_and_round_trips_bit_by_bit() -> None:
    module, other = Mixed(), Mixed()
    expected = {name: tensor.clone() for name, tensor in module.state_dict().items()}

    state = module.get_state()

    assert set(state) == {"scale", "short", "inner"}
    assert isinstance(state["scale"], np.ndarray)
    assert state["inner"]["wide"]["weight"].dtype == np.float64
    assert state["inner"]["norm"]["num_batches_tracked"].dtype == np.int64
    other.set_state(state)
    state["scale"][...] = 0
    state["inner"]["wide"]["weight"][:] = 0
    for of in (module, other):
        for name, tensor in of.state_dict().items():
            assert torch.equal(tensor, expected[name]), name


def test_setting_a_state_keeps_the_very_tensors_and_takes_read_only_arrays_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    module = Linear()
    weight = module.layer.weight
    array = np.full((2, 3), 7.0, np.float32)
    array.flags.writeable = False

    module.set_state({"layer": {"weight": array, "bias": np.zeros(2)}})

    assert module.layer.weight is weight
    assert weight.eq(7).all()
    assert len(recwarn) == 0


def test_a_state_that_does_not_fit_is_refused_with_every_problem_and_changes_nothing() -> None:
    module = Mixed()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = module.get_state()
    state["scale"] = 1.0
    state["inner"]["norm"]["weight"] = np.zeros(4)
    state["inner"]["wide"]["weight"] = np.array([["a", "b"], ["c", "d"]])
    state["extra"] = np.zeros(1)
    del state["short"]

    with pytest.raises(ValueError, match=r"Mixed\.set_state: the state does not fit") as caught:
        module.set_state(state)

    for problem in (
        "scale is float, expected an array of numbers",
        "short is missing",
        "inner.norm.weight has shape (4,), expected (3,)",
        "inner.wide.weight is an array of <U1",
        "extra is not expected",
    ):
        assert problem in str(caught.value)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_device_is_that_of_the_weights_and_the_cpu_without_any() -> None:
    class Empty(Linear):
        def __init__(self, config: RLModuleConfig | None = None) -> None:
            TorchRLModule.__init__(self, config)

    assert Linear().device == torch.device("cpu")
    assert Linear().to("meta").device == torch.device("meta")
    assert Empty().device == torch.device("cpu")


class Counting(Linear):
    """With buffers of other types, the last of them complex."""

    def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
        super().__init__(config)
        self.register_buffer("steps", torch.tensor(3))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("short", torch.zeros(2, dtype=torch.bfloat16))
        self.phase = nn.Parameter(torch.ones(2, dtype=torch.complex64))


@pytest.mark.parametrize("dtype", [">f4", "<f4", np.longdouble, np.float16, ">i8", np.uint8])
def test_a_state_of_arrays_in_any_byte_order_or_width_is_taken(dtype: Any) -> None:
    module = Linear()

    module.set_state({"layer": {"weight": np.full((2, 3), 7.0, dtype), "bias": np.zeros(2, dtype)}})

    assert module.layer.weight.eq(7).all()


LOSSES = {
    "a fraction as a count": ("steps", np.array(2.7), "steps holds 2.7, which int64 cannot hold"),
    "NaN as a count": ("steps", np.array(np.nan), "steps holds nan"),
    "a number as a flag": ("flags", np.array([2, 0]), "flags holds 2, which bool cannot hold"),
    "too large": ("layer.bias", np.array([0.0, 1e300]), r"layer.bias holds 1e\+300, which float32"),
    "too large for bfloat16": ("short", np.array([0.0, 3.4e38]), r"short holds 3.4e\+38, which bfloat16"),
    "imaginary": ("layer.bias", np.array([1.0, 1j]), "layer.bias holds 1j, which float32"),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_state_that_would_lose_what_it_holds_is_refused_and_changes_nothing(loss: str) -> None:
    name, value, problem = LOSSES[loss]
    module = Counting()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    flat = {key: np.zeros_like(array) for key, array in flatten_state(module.get_state()).items()}

    with pytest.raises(ValueError, match=problem):
        module.set_state(nest_state({**flat, name: value}))

    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[key]), key


def test_complex_weights_come_back() -> None:
    module, other = Counting(), Counting()
    with torch.no_grad():
        module.phase.mul_(1j)

    other.set_state(module.get_state())

    assert torch.equal(other.phase, module.phase)


@pytest.mark.parametrize("state", [None, 5, [np.zeros(3)], "state"])
def test_what_is_no_state_at_all_is_refused_in_words(state: Any) -> None:
    with pytest.raises(ValueError, match="nested dict of NumPy arrays"):
        Linear().set_state(state)


def test_weights_that_have_no_form_as_an_array_are_named() -> None:
    class Extra(nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"steps": 3}

        def set_extra_state(self, state: Any) -> None: ...

    module = Linear()
    module.layer = nn.Sequential(nn.LazyLinear(3), Extra(3, 2))  # type: ignore[assignment]

    with pytest.raises(
        ValueError, match=r"layer\.0\.weight has no shape yet.*layer\.1\._extra_state is dict"
    ):
        module.get_state()


def test_a_buffer_of_a_dtype_that_no_array_has_is_named_and_nothing_is_saved(tmp_path: Path) -> None:
    module = Linear()
    module.register_buffer("small", torch.zeros(3).to(torch.float8_e4m3fn))

    for call in (module.get_state, lambda: module.save_to_checkpoint(tmp_path / "c")):
        with pytest.raises(
            ValueError,
            match=r"Linear\.get_state: small is torch\.float8_e4m3fn, which no array .*float32",
        ):
            call()
    assert list(tmp_path.iterdir()) == []


def test_an_expanded_buffer_takes_over_a_state_in_which_its_elements_differ() -> None:
    module = Expanding()
    rows, new = module.rows, np.arange(3, dtype=np.float32)

    module.set_state({**module.get_state(), "rows": new})

    assert module.rows is rows  # who holds it sees it
    np.testing.assert_array_equal(module.get_state()["rows"], new)


def test_a_module_with_an_expanded_buffer_comes_back_from_a_checkpoint(tmp_path: Path) -> None:
    module = Expanding()
    with torch.no_grad():
        module.base.fill_(2)

    loaded = Expanding.from_checkpoint(module.save_to_checkpoint(tmp_path / "c"))

    assert loaded.rows.tolist() == [2, 2, 2]


def test_setting_the_device_of_a_module_says_what_it_is_and_what_to_do() -> None:
    class Placing(Linear):
        def __init__(self, config: RLModuleConfig | None = CONFIG) -> None:
            super().__init__(config)
            self.device = torch.device("cpu")  # type: ignore[assignment]

    with pytest.raises(ValueError, match=r"Placing\.device cannot be set: it says where the weights are"):
        Placing()


def test_calling_the_module_itself_names_the_forwards_unless_the_class_says_what_that_is() -> None:
    class Called(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    with pytest.raises(TypeError, match=r"^Linear cannot be called itself: call forward_train\(batch\)"):
        Linear()({"obs": torch.zeros(2, 4)})
    assert Called()(torch.zeros(1)).item() == 1.0


def test_a_public_forward_cannot_be_set_on_an_object() -> None:
    module: Any = Linear()
    with pytest.raises(TypeError, match=r"forward_inference cannot be set.*override _forward_inference"):
        module.forward_inference = lambda batch: {}


def test_an_initial_state_of_tensors_is_refused_when_the_module_is_made() -> None:
    class Remembering(Linear):
        def get_initial_state(self) -> dict[str, Any]:
            return {"h": torch.zeros(3)}

    with pytest.raises(ValueError, match=r"h: expected a NumPy array of numbers, got torch\.Tensor; whoever"):
        Remembering()
