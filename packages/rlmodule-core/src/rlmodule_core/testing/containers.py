"""What holds for a container of modules: its mapping, its forwards, what is shared, states and copies."""

from __future__ import annotations

import copy
import pickle
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rlmodule_core.checkpoint import CheckpointError
from rlmodule_core.module import RLModule
from rlmodule_core.multi_agent import MultiAgentRLModule
from rlmodule_core.nest import map_nest
from rlmodule_core.overrides import PHASES
from rlmodule_core.state import flatten_state, nest_state, tied_names
from rlmodule_core.testing.making import Making, promised, refused
from rlmodule_core.testing.weights import moved_state


class MultiAgentConformance(Making):
    """Override `make_modules`: a new container of two modules or more, each of whose states is not empty.

    `make_batch` is that of one module, as in RLModuleConformance; `make_another` makes one to add.
    """

    def make_modules(self) -> MultiAgentRLModule:
        """Return a new container."""
        raise NotImplementedError("make_modules: return a new container of yours, with two modules or more")

    def make_another(self, modules: MultiAgentRLModule) -> RLModule:
        """Return a module that can be added; by default a copy of the first."""
        return copy.deepcopy(next(iter(modules.values())))

    def test_it_is_a_mapping_of_ids_to_modules(self) -> None:
        """With keys, values, items, `len`, `in`, and KeyError that lists the ids."""
        modules = self.make_modules()
        ids = list(modules)
        assert len(ids) == len(modules) == len(set(ids)) > 1, f"it has {len(modules)} modules of ids {ids}"
        for key, module in modules.items():
            assert isinstance(module, RLModule), f"{key} is {type(module).__name__}, no RLModule"
            assert key in modules and modules[key] is module, f"{key} is not what items() says"  # noqa: PT018
        assert modules.foreach_module(lambda key, _: key) == ids, "foreach_module has other ids"
        assert modules.as_multi_agent() is modules, "as_multi_agent() is not itself"
        assert "no such id" not in modules, "it has an id that nobody added"
        self._unknown(modules, lambda: modules["no such id"], "an unknown id")

    def test_a_forward_gives_the_ids_of_its_batch(self) -> None:
        """All or some of the modules, in every phase, each with what it gives alone."""
        modules = self.make_modules()
        for phase in PHASES:
            for ids in (list(modules), list(modules)[1:]):
                output = self._act_of(modules, phase, ids)
                assert list(output) == ids, f"{phase}: a batch of {ids} gave {list(output)}"
        for key, module in modules.items():
            alone = self._policy(module, self.make_batch(module, "inference", 4))
            assert self._close(alone, self._policies(modules)[key]), f"{key} acts otherwise alone"

    def test_an_unknown_id_is_refused_before_any_module_ran(self) -> None:
        """KeyError that lists the known ones."""
        modules = self.make_modules()
        for phase in PHASES:
            ran: list[str] = []
            batch = {key: self.make_batch(module, phase, 2) for key, module in modules.items()}
            batch["no such id"] = next(iter(batch.values()))
            for key, module in modules.items():
                vars(module)[f"forward_{phase}"] = partial(_note, ran, key)
            forward = getattr(modules, f"forward_{phase}")
            self._unknown(modules, lambda: forward(batch), f"{phase}: an unknown id")  # noqa: B023
            assert not ran, f"{phase}: {', '.join(ran)} ran before the unknown id was refused"

    def test_modules_can_be_added_replaced_and_removed(self) -> None:
        """An id that is taken is refused without `override`, one that is not there when removed."""
        modules = self.make_modules()
        ids, another = list(modules), self.make_another(modules)
        modules.add_module("another", another)
        assert list(modules) == [*ids, "another"], f"after add_module the ids are {list(modules)}"
        assert list(self._act_of(modules, "train", ["another"])) == ["another"], "the added one does not run"
        assert "another" in modules.get_state(), "the added one is not in the state"
        other = self.make_another(modules)
        refused(ValueError, lambda: modules.add_module("another", other), "an id that is taken")
        assert modules["another"] is another, "an id that is taken was refused, but replaced"
        modules.add_module("another", other, override=True)
        assert modules["another"] is other, "override=True did not replace"
        modules.remove_module("another")
        assert list(modules) == ids, f"after remove_module the ids are {list(modules)}"
        assert sorted(modules.get_state()) == sorted(self.make_modules().get_state()), "the state keeps it"
        self._unknown(modules, lambda: modules.remove_module("another"), "removing an unknown id")
        with promised("remove_module(..., raise_err_if_not_found=False) passes over an unknown id"):
            modules.remove_module("another", raise_err_if_not_found=False)

    def test_what_modules_share_is_one_parameter_and_stays_shared(self) -> None:
        """Listed once, one array of the state, of one value; a removed owner leaves it to the others."""
        modules = self.make_modules()
        listed = [id(tensor) for tensor in _listed(modules)]
        assert len(listed) == len(set(listed)), "a shared parameter is listed more than once"
        tied = tied_names(modules._tensors())
        state = modules.get_state()
        for place, earlier in tied.items():
            same = _entry(state, place) is _entry(state, earlier)
            assert same, f"{place} is shared with {earlier}, but has an array of its own in the state"
        if tied:
            place = next(iter(tied))
            twofold = {
                key: nest_state({n: np.array(a) for n, a in flatten_state(own).items()})
                for key, own in state.items()
            }
            _entry(twofold, place)[...] += 1
            refused(ValueError, lambda: modules.set_state(twofold), f"two values for the shared {place}")
            gone, kept = tied[place].module_id, place.module_id
            modules.set_state(moved_state(state))
            assert tied_names(modules._tensors()) == tied, "set_state ended the sharing"
            expected = self._policies(modules)[kept]
            if gone != kept:
                modules.remove_module(gone)
                assert self._close(self._policies(modules)[kept], expected), f"without {gone} {kept} changed"

    def test_a_state_makes_another_container_act_the_same_or_changes_nothing(self) -> None:
        """By id; an unknown id is a KeyError, an entry that does not fit a ValueError."""
        one, other = self.make_modules(), self.make_modules()
        state = moved_state(one.get_state())
        for modules in (one, other):
            modules.set_state(state)
            self._require_state(modules, state, "set_state did not take over")
        self._alike(one, other)
        first = next(iter(one))
        unfit = {**state, first: {**state[first], "not_mine": np.zeros(1)}}
        refused(ValueError, lambda: one.set_state(moved_state(unfit)), "a state with an unexpected entry")
        stranger = {"no such id": {}, **moved_state(state)}
        refused(KeyError, lambda: one.set_state(stranger), "a state with an unknown id")
        self._require_state(one, state, "a refused state changed")

    def test_a_checkpoint_gives_a_container_that_acts_the_same(self) -> None:
        """With the same ids, and sharing what was shared; where `saves = False`, saving is refused."""
        modules = self.make_modules()
        modules.set_state(moved_state(modules.get_state()))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "modules"
            if not self.saves:
                refused(CheckpointError, lambda: modules.save_to_checkpoint(path), "saving (saves = False)")
                assert not path.exists(), "a refused save left files"
                return
            with promised("it can be saved (say saves = False in the test class of one that cannot)"):
                modules.save_to_checkpoint(path)
            classes = {key: type(module) for key, module in modules.items()}
            with promised("what was saved can be loaded"):
                loaded = type(modules).written_in.from_checkpoint(path, module_classes=classes)
            self._alike(modules, loaded)

    def test_copies_act_the_same_with_weights_of_their_own(self) -> None:
        """`copy.deepcopy` and pickle; they share within themselves what was shared."""
        modules = self.make_modules()
        before = modules.get_state()
        for other in (copy.deepcopy(modules), pickle.loads(pickle.dumps(modules))):
            self._alike(modules, other)
            other.set_state(moved_state(before))
            self._require_state(modules, before, "setting a copy's state changed")

    # --- how it is done -----------------------------------------------------------------------

    def _act_of(self, modules: MultiAgentRLModule, phase: str, ids: list[str]) -> dict[str, Any]:
        batch = {key: self.make_batch(modules[key], phase, 4) for key in ids}
        with promised(f"forward_{phase} takes a batch of {', '.join(ids)}"):
            output: dict[str, Any] = getattr(modules, f"forward_{phase}")(batch)
        return output

    def _policies(self, modules: MultiAgentRLModule) -> dict[str, Any]:
        outputs = self._act_of(modules, "inference", list(modules))
        return {key: self._decides(modules[key], output) for key, output in outputs.items()}

    def _alike(self, one: MultiAgentRLModule, other: MultiAgentRLModule) -> None:
        assert list(one) == list(other), f"it has the ids {list(other)}, expected {list(one)}"
        theirs = self._policies(other)
        for key, policy in self._policies(one).items():
            assert self._close(policy, theirs[key]), f"{key} acts differently"
        assert tied_names(one._tensors()) == tied_names(other._tensors()), "it shares other parameters"

    def _require_state(self, modules: MultiAgentRLModule, state: dict[str, Any], what: str) -> None:
        found = flatten_state(modules.get_state())
        for name, array in flatten_state(state).items():
            assert self._close(map_nest(np.asarray, found[name]), array), f"{what} {name}"

    def _unknown(self, modules: MultiAgentRLModule, call: Any, what: str) -> None:
        message = str(refused(KeyError, call, what))
        unnamed = [key for key in modules if key not in message]
        assert not unnamed, f"{what} is refused without the known ids {unnamed}: {message}"


def _note(ran: list[str], key: str, *_: object, **__: object) -> None:
    ran.append(key)


def _listed(modules: Any) -> list[Any]:
    """Return the parameters that the framework's own container lists; NumPy's lists none."""
    if hasattr(modules, "parameters"):
        return list(modules.parameters())
    return list(getattr(modules, "variables", ()))


def _entry(state: dict[str, Any], place: Any) -> Any:
    return flatten_state(state[place.module_id])[place.name]
