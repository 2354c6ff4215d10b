"""Axes that all leaves of a tree have in front: the batch, and time behind it."""

from rlmodule_specs.shape import DOTS, Axis, parse_shape
from rlmodule_specs.tensor_spec import TensorSpec
from rlmodule_specs.tree import Node, SpecDict, SpecType, canonical, leaves

__all__ = ["batched", "with_time"]


def batched(spec: SpecType, name: str = "b") -> Node:
    """The spec of a batch: every tensor gets a first axis of this name.

    >>> batched({"obs": TensorSpec("4"), "reward": TensorSpec("")})
    SpecDict({'obs': TensorSpec('b, 4'), 'reward': TensorSpec('b')})
    """
    return _with_axis(canonical(spec), name, 0)


def with_time(spec: SpecType, name: str = "t") -> Node:
    """The spec of a batch of sequences, `[B, T, ...]`: every tensor gets this axis behind its first.

    >>> with_time({"obs": TensorSpec("b, 4")})
    SpecDict({'obs': TensorSpec('b, t, 4')})
    """
    return _with_axis(canonical(spec), name, 1)


def _with_axis(node: Node, name: str, at: int) -> Node:
    axes = parse_shape(name)
    if len(axes) != 1 or axes[0] == DOTS:
        raise ValueError(f"one axis is added: write a name such as 'b', got {name!r}")
    for path, leaf in leaves(node):
        if isinstance(leaf, TensorSpec) and axes[0] in leaf.names:
            raise ValueError(f"{axes[0]!r} is an axis of {path or '(root)'} already: choose another name")
    return _mapped(node, axes[0], at)


def _mapped(node: Node, axis: Axis, at: int) -> Node:
    if isinstance(node, SpecDict):
        return SpecDict({key: _mapped(child, axis, at) for key, child in node.items()})
    if not isinstance(node, TensorSpec):
        return node
    if at and node.axes[:1] in ((), (DOTS,)):
        raise ValueError(
            f"time stands behind a first axis, which shape {node.shape!r} lacks: use batched() first"
        )
    return node.with_axes((*node.axes[:at], axis, *node.axes[at:]))
