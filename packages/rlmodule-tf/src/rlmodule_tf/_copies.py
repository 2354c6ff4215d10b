"""Copies of modules that hold Keras layers: attribute by attribute, so that what was shared stays shared.

Keras copies and pickles a layer by writing and reading it as a file of its own. Two layers that share a
third come back with one each, and a layer without `get_config` does not come back.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, Self

import tensorflow as tf

_OPERATION = tf.keras.Operation  # what layers and models are, and the operations of a functional model
_LEAVES = (str, bytes, int, float, type, FunctionType, ModuleType, tf.Variable, tf.Tensor, tf.keras.Variable)
_REMADE = ("build", "quantize")  # functions that Keras wraps around each layer when it is made
_packing: ContextVar[bool] = ContextVar("_packing", default=False)


def _packed(plain: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a `__reduce_ex__` that pickles an object together with the Keras layers below it."""

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        return plain(self, protocol) if _packing.get() else (_load, (_dump(self),))

    return __reduce_ex__


class _CopiesKerasLayers:
    """Copies and pickles its Keras layers with all that they share."""

    __reduce_ex__ = _packed(object.__reduce_ex__)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__reduce_ex__" in vars(cls):
            cls.__reduce_ex__ = _packed(vars(cls)["__reduce_ex__"])  # type: ignore[method-assign, assignment]

    def __copy__(self) -> Self:
        made = type(self).__new__(type(self))
        vars(made).update(vars(self))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        with _explained(self, "copied"):
            _copy_keras_parts(self, memo)
            made = memo[id(self)] = type(self).__new__(type(self))
            _set_state(made, copy.deepcopy(self.__getstate__(), memo))
        return made


class _explained:  # a context manager; contextlib's would cost a frame per level
    """Say of what fails inside, once, whose copy it was and what to do."""

    def __init__(self, owner: object, done: str) -> None:
        self._owner, self._done = owner, done

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, _NoCopyError):
            return
        raise _NoCopyError(
            f"{type(self._owner).__name__} cannot be {self._done}: {type(error).__name__}: {error}; its "
            f"attributes and those of its Keras layers are {self._done} one by one: make of each something "
            "that can be (a function by name in place of a lambda, say), or make the object anew in "
            "__setstate__"
        ) from error


class _NoCopyError(TypeError):
    """A module cannot be copied."""


def _set_state(made: Any, state: Any) -> None:
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
    else:
        vars(made).update(state)


# --- deepcopy ---------------------------------------------------------------------------------


def _copy_keras_parts(root: object, memo: dict[int, Any]) -> None:
    """Put copies of all Keras parts below `root` into the memo of a deepcopy."""
    below = _reachable(root)
    memo.update({id(module): module for module in below if isinstance(module, ModuleType)})
    parts = [part for part in _keras_parts(below) if id(part) not in memo]
    for part in parts:
        made = memo[id(part)] = _blank(type(part))
        if "_tracker" in vars(part):
            memo[id(part._tracker)] = made._tracker
    for part in parts:
        _fill(memo[id(part)], copy.deepcopy(_contents(part), memo))


# --- pickle -----------------------------------------------------------------------------------


def _dump(root: object) -> bytes:
    """Pickle `root`; the Keras parts below it stand in a list of their own, and elsewhere as numbers."""
    parts = _keras_parts(_reachable(root))
    data, token = io.BytesIO(), _packing.set(True)
    try:
        with _explained(root, "pickled"):
            pickle.dump([type(part) for part in parts], data)
            _Pickler(data, parts).dump(([_contents(part) for part in parts], root))
    finally:
        _packing.reset(token)
    return data.getvalue()


def _load(pickled: bytes) -> Any:
    data = io.BytesIO(pickled)
    parts = [_blank(cls) for cls in pickle.load(data)]
    contents, root = _Unpickler(data, parts).load()
    for part, content in zip(parts, contents, strict=True):
        _fill(part, content)
    return root


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, parts: list[Any]) -> None:
        super().__init__(file)
        self._places = {id(part): (index, "") for index, part in enumerate(parts)}
        for index, part in enumerate(parts):
            if "_tracker" in vars(part):
                self._places[id(part._tracker)] = (index, "_tracker")

    def persistent_id(self, obj: object) -> tuple[int, str] | None:
        return self._places.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        """Pickle modules by name, and the lists and dicts by which Keras follows what is put into them."""
        if isinstance(obj, ModuleType):
            return import_module, (obj.__name__,)
        for plain in (list, dict, set):
            if isinstance(obj, plain) and hasattr(obj, "tracker"):
                return type(obj), (plain(obj), obj.tracker)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, parts: list[Any]) -> None:
        super().__init__(file)
        self._parts = parts

    def persistent_load(self, place: tuple[int, str]) -> Any:
        index, attribute = place
        return getattr(self._parts[index], attribute) if attribute else self._parts[index]


# --- the parts of Keras -----------------------------------------------------------------------


def _reachable(root: object) -> list[Any]:
    """Return the objects below `root`, itself included."""
    found: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        if id(owner) not in found:
            found[id(owner)] = owner
            waiting += () if isinstance(owner, _LEAVES) else _below(owner)
    return list(found.values())


def _keras_parts(objects: Iterable[Any]) -> list[Any]:
    """Return the layers and operations of Keras, and the nodes of the graphs that they were put into.

    As a list, in which each may refer to each: a deep network would otherwise be a deep recursion.
    """
    parts: list[Any] = []
    for obj in objects:
        if isinstance(obj, _OPERATION):
            parts += [obj, *obj._inbound_nodes]
        elif type(obj).__name__ == "DynamicBackend":  # has no attribute before it has all
            parts.append(obj)
    return list({id(part): part for part in parts}.values())


def _below(owner: Any) -> Iterator[Any]:
    if isinstance(owner, Mapping) and not isinstance(owner, tf.Module):
        yield from owner.values()
    elif isinstance(owner, (list, tuple, set, frozenset)):
        yield from owner
    if hasattr(owner, "__dict__"):
        yield from (part for name, part in vars(owner).items() if name != "_outbound_nodes")


def _blank(cls: Any) -> Any:
    """Return an object of a class of Keras that has no attributes yet but those that Keras gives to each."""
    made = cls.__new__(cls)
    if hasattr(cls, "_initialize_tracker"):
        made._initialize_tracker()
    return made


def _contents(part: Any) -> dict[str, Any]:
    """Return the attributes of a Keras part, those that hold ids of objects in a form without them."""
    own = {name: value for name, value in vars(part).items() if name not in _REMADE}
    if "_outbound_nodes" in own:
        own["_outbound_nodes"] = []  # where else its outputs went; Keras only ever adds to them
    if "_losses" in own:
        own |= {"_losses": [], "_loss_ids": set()}  # of the last call, maybe tensors of a graph
    if "_tracker" in own:
        tracker = own["_tracker"]
        stores = {name: store for name, (_, store) in tracker.config.items()}
        own["_tracker"] = (stores, tracker.locked, tracker._lock_violation_msg)
    if "_operations" in own:  # the graph of a functional model, as keys "id_ib-index"
        keys = [key.split("_ib-") for key in own["_nodes"]]
        operations = {str(id(operation)): operation for operation in own["_operations"]}
        own["_nodes"] = [(operations[key], index) for key, index in keys]
    return own


def _fill(made: Any, contents: dict[str, Any]) -> None:
    """Set the attributes that `_contents` returned of another."""
    if "_tracker" in contents:
        stores, locked, message = contents.pop("_tracker")
        tracker = made._tracker
        tracker.config = {name: (test, stores[name]) for name, (test, _) in tracker.config.items()}
        tracker.stored_ids = {name: set(map(id, store)) for name, store in stores.items()}
        tracker.locked, tracker._lock_violation_msg = locked, message
    if "_operations" in contents:
        contents["_nodes"] = {f"{id(operation)}_ib-{index}" for operation, index in contents["_nodes"]}
    vars(made).update(contents)
