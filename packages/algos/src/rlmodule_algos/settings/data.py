"""Settings as data: plain copies, frozen and thawed, to JSON and what of it can come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from rlmodule_core import MultiAgentRLModuleSpec, SingleAgentRLModuleSpec

CODE = "python object"  # key of what stands for a class or function in JSON


class FrozenList(tuple[Any, ...]):
    """What a list is in a frozen config."""

    __slots__ = ()


def plain(value: Any) -> Any:
    """Return a setting as it is kept: NumPy's numbers as Python's, sets of names as lists, all copied."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if isinstance(value, (set, frozenset)) and all(isinstance(element, str) for element in value):
        return sorted(value)
    return thawed(dict(value)) if isinstance(value, Mapping) else value


def frozen(value: Any) -> Any:
    """Return a copy whose dicts and lists refuse to be changed; the rest is shared."""
    if isinstance(value, (dict, MappingProxyType)):
        return MappingProxyType({key: frozen(child) for key, child in value.items()})
    if isinstance(value, (list, FrozenList)):
        return FrozenList(map(frozen, value))
    return tuple(map(frozen, value)) if type(value) is tuple else value


def thawed(value: Any) -> Any:
    """Return a copy with dicts and lists of its own, also of what was frozen; the rest is shared."""
    if isinstance(value, (dict, MappingProxyType)):
        return {key: thawed(child) for key, child in value.items()}
    if isinstance(value, (list, FrozenList)):
        return list(map(thawed, value))
    return tuple(map(thawed, value)) if type(value) is tuple else value


def to_json(value: Any) -> Any:
    """Return a setting as JSON data; what JSON cannot hold is written as its name only."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (dict, MappingProxyType)) and all(isinstance(key, str) for key in value):
        return {key: to_json(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(child) for child in value]
    return {CODE: getattr(value, "__qualname__", type(value).__qualname__)}


def code_in(value: Any) -> str | None:
    """Return the name of the first thing that `to_json` could only name, or None."""
    if isinstance(value, Mapping):
        return str(value[CODE]) if CODE in value else next(filter(None, map(code_in, value.values())), None)
    return next(filter(None, map(code_in, value)), None) if isinstance(value, list) else None


def copied(value: Any) -> Any:
    """Copy what can change in place: dicts, lists and recipes of modules."""
    if isinstance(value, SingleAgentRLModuleSpec):
        return replace(value, model_config_dict=thawed(value.model_config_dict))
    if isinstance(value, MultiAgentRLModuleSpec):
        given = value.module_specs
        of_each = {key: copied(spec) for key, spec in given.items()} if isinstance(given, dict) else None
        return replace(value, module_specs=copied(given) if of_each is None else of_each)
    return thawed(value)
