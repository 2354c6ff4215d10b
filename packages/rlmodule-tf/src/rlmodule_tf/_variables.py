"""Which variables a module has, by name, and which of them learn.

Variables are found along the attributes that own them, as in torch: first an object's own, then those of
its parts, both in the order of definition. `tf.Module.variables` does not see into Keras layers, and the
names that Keras gives count up within a process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import tensorflow as tf

from rlmodule_tf._copies import _CopiesKerasLayers
from rlmodule_tf._kernels import Kernel

_KERAS_LAYER = tf.keras.layers.Layer
_KERAS_VARIABLE = tf.keras.Variable


_Named: TypeAlias = tf.Variable | Kernel
"""What reads and writes a variable by name, for a state: itself, or what turns its axes."""


class _Held(NamedTuple):
    """A variable where it was found."""

    name: str  # "pi.layers.0.weight"
    variable: tf.Variable
    learns: bool  # neither it nor a Keras layer that holds it is frozen
    state: _Named


class _OwnsVariables(_CopiesKerasLayers, tf.Module):
    """A `tf.Module` that finds the variables inside Keras layers too."""

    @property
    def variables(self) -> tuple[tf.Variable, ...]:
        """All variables, those of Keras layers included, each once, in the order of definition.

        Raises ValueError while layers are not built, which can only be without observation space.
        """
        return _each_once(self._held())

    @property
    def trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that learn, each once; for errors see `variables`.

        Those of a Keras layer with `trainable = False` do not, nor do those of its parts.
        """
        held = self._held()
        frozen = _frozen(held)
        return _each_once(found for found in held if id(found.variable) not in frozen)

    @property
    def non_trainable_variables(self) -> tuple[tf.Variable, ...]:
        """The variables that no optimizer moves, each once; for errors see `variables`."""
        held = self._held()
        frozen = _frozen(held)
        return _each_once(found for found in held if id(found.variable) in frozen)

    def _known_variables(self) -> list[tuple[str, _Named]]:
        """Return (dotted name, what a state reads and writes), a shared one under each of its names."""
        return [(held.name, held.state) for held in self._held()]

    def _held(self) -> list[_Held]:
        """Return all variables, a shared one at each of its places."""
        lazy = self._unbuilt()
        if lazy:
            raise ValueError(
                f"{type(self).__name__}: {', '.join(lazy)} have no variables yet: no forward has called "
                "them; call one once, or build the layers in __init__, say with layer.build(shape)"
            )
        return list(_held_by(self))

    def _unbuilt(self) -> list[str]:
        """Return the names of the Keras layers that were never called nor built."""
        return [name for name, layer in _named_layers(self) if not layer.built]

    @property
    def name(self) -> str:
        """The name that `tf.Module` gave, or any other that you set."""
        name: str = self._name
        return name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse_taken(type(self), name)
        super().__setattr__(name, value)


def _refuse_taken(cls: type, name: str) -> None:
    """Raise AttributeError if a class computes the attribute that one sets."""
    taken = getattr(cls, name, None)
    if isinstance(taken, property) and taken.fset is None:
        owner = next(base for base in cls.__mro__ if name in vars(base))
        raise AttributeError(
            f"{cls.__name__}: self.{name} cannot be set, it is a property of {owner.__name__}; "
            "give your attribute another name"
        )


def _by_name(known: Iterable[tuple[str, _Named]], where: str) -> dict[str, _Named]:
    """Return variables by name; ValueError if two of them have one name, for a state would lose the other."""
    found: dict[str, _Named] = {}
    for name, variable in known:
        if found.setdefault(name, variable) is not variable:
            raise ValueError(
                f"{where}: two variables have the name {name!r} in its state; rename one of the attributes "
                "or keys of dicts that lead to them"
            )
    return found


def _each_once(held: Iterable[_Held]) -> tuple[tf.Variable, ...]:
    return tuple({id(found.variable): found.variable for found in held}.values())


def _frozen(held: Iterable[_Held]) -> set[int]:
    return {id(found.variable) for found in held if not found.learns}


def _held_by(owner: object) -> Iterator[_Held]:
    """Yield the variables below `owner`; a shared one at each of its places."""
    for name, part, frozen in _walk(owner):
        if isinstance(part, tf.Variable):
            yield _Held(name, part, part.trainable and not frozen, part)
        elif isinstance(part, Kernel):
            yield _Held(name, part.variable, part.variable.trainable and not frozen, part)
        elif isinstance(part, _KERAS_VARIABLE):  # whose `value` keeps the flag that it was made with
            yield _Held(name, part.value, part.trainable and not frozen, part.value)


def _kernels(owner: object) -> dict[int, Kernel]:
    """Return what turns the axes of variables below `owner`, by the id of each variable."""
    return {id(found.variable): found.state for found in _held_by(owner) if isinstance(found.state, Kernel)}


def _named_layers(owner: object) -> Iterator[tuple[str, Any]]:
    """Yield ("policy.0", layer) for the Keras layers below `owner`."""
    yield from ((name, part) for name, part, _ in _walk(owner) if isinstance(part, _KERAS_LAYER))


def _walk(
    owner: object, prefix: str = "", above: tuple[int, ...] = (), frozen: bool = False
) -> Iterator[tuple[str, object, bool]]:
    """Yield everything below `owner` with its path and whether it is frozen.

    `above` are the owners, which end a circle.
    """
    above = (*above, id(owner))
    frozen = frozen or (isinstance(owner, _KERAS_LAYER) and not owner.trainable)
    parts = [(f"{prefix}{name}", part) for name, part in _parts(owner) if id(part) not in above]
    yield from ((path, part, frozen) for path, part in parts)
    for path, part in parts:
        if not isinstance(part, (tf.Variable, _KERAS_VARIABLE, Kernel)):
            yield from _walk(part, f"{path}.", above, frozen)


def _parts(owner: Any) -> Iterator[tuple[str, object]]:
    """Yield what `owner` is made of and may hold variables, by name."""
    if isinstance(owner, _KERAS_LAYER):
        yield from _keras_parts(owner)
        return
    if isinstance(owner, Mapping) and not isinstance(owner, tf.Module):
        items = [(str(key), value) for key, value in owner.items()]
    elif isinstance(owner, (list, tuple)):
        items = [(str(index), value) for index, value in enumerate(owner)]
    else:
        items = [(name, value) for name, value in vars(owner).items() if not name.startswith("_self_")]
    kinds = (tf.Variable, _KERAS_VARIABLE, tf.Module, _KERAS_LAYER, Mapping, list, tuple)
    yield from ((name, value) for name, value in items if isinstance(value, kinds))


def _keras_parts(layer: Any) -> Iterator[tuple[str, object]]:
    """Yield a layer's own variables and sub-layers, by attribute name, else by position.

    Keras keeps both in lists of its own, which are complete, and most as attributes, which have names.
    """
    children = layer.layers if isinstance(layer, tf.keras.Model) else layer._layers
    below = {id(variable) for child in children for variable in child.variables}
    own = [variable for variable in layer.variables if id(variable) not in below]
    attributes = _attribute_names(layer, (*own, *children))
    for index, variable in enumerate(own):
        yield attributes.get(id(variable), f"variables.{index}"), variable
    for index, child in enumerate(children):
        yield attributes.get(id(child), str(index)), child
    for name, value in vars(layer).items():
        if isinstance(value, (tf.Variable, tf.Module)):  # Keras does not count these
            yield name, value


def _attribute_names(layer: Any, parts: Iterable[object]) -> dict[int, str]:
    """Return the names of the attributes that hold `parts`, without underscores where that is unique."""
    ids = {id(part) for part in parts}
    names = {id(value): name for name, value in vars(layer).items() if id(value) in ids}
    uses = Counter(name.lstrip("_") for name in names.values())
    return {key: name.lstrip("_") if uses[name.lstrip("_")] == 1 else name for key, name in names.items()}
