"""Axes that all leaves of a tree have in front: the batch, and time behind it."""

from collections.abc import Callable

from rlmodule_specs.shape import DOTS, Axis, is_name, parse_shape
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Node, SpecDict, SpecType, canonical, leaves

__all__ = ["batched", "with_time"]


def batched(spec: SpecType, name: str = "b") -> Node:
    """The spec of a batch: every tensor gets a first axis of this name.

    >>> batched({"obs": TensorSpec("4"), "reward": TensorSpec("")})
    SpecDict({'obs': TensorSpec('b, 4'), 'reward': TensorSpec('b')})
    """
    return _with_axis(canonical(spec), _axis(name), lambda axes: 0)


def with_time(spec: SpecType, name: str = "t") -> Node:
    """The spec of a batch of sequences, `[B, T, ...]`: every tensor gets this axis behind its first.

    >>> with_time({"obs": TensorSpec("b, 4")})
    SpecDict({'obs': TensorSpec('b, t, 4')})
    """
    return _with_axis(canonical(spec), _axis(name), _behind_the_batch)


def _axis(name: str) -> Axis:
    axes = parse_shape(name)
    if len(axes) != 1 or axes[0] == DOTS:
        raise ValueError(f"one axis is added: write a name such as 'b', got {name!r}")
    return axes[0]


def _behind_the_batch(axes: tuple[Axis, ...]) -> int:
    if not axes or axes[0] == DOTS:
        shape = ", ".join(map(str, axes))
        raise ValueError(f"time stands behind a first axis, which shape {shape!r} lacks: use batched() first")
    return 1


def _with_axis(node: Node, axis: Axis, place: Callable[[tuple[Axis, ...]], int]) -> Node:
    if is_name(axis):
        taken = [path for path, leaf in leaves(node) if isinstance(leaf, TensorSpec) and axis in leaf.axes]
        if taken:
            raise ValueError(f"{axis!r} is an axis of {taken[0] or '(root)'} already: choose another name")
    return _mapped(node, axis, place)


def _mapped(node: Node, axis: Axis, place: Callable[[tuple[Axis, ...]], int]) -> Node:
    if isinstance(node, SpecDict):
        return SpecDict({key: _mapped(child, axis, place) for key, child in node.items()})
    if not isinstance(node, TensorSpec):
        return node
    at = place(node.axes)
    return node.with_axes((*node.axes[:at], axis, *node.axes[at:]))
