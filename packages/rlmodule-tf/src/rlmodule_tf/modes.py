"""Which layers compute differently in training, and whether some came in since one looked.

Keras has no public word for the mode that its layers ask for: the context of a call (`_get_call_context`,
`GLOBAL_STATE_TRACKER`) is its own. A test says so in words when a new version of Keras keeps it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

import tensorflow as tf
from keras.src.backend.common import global_state

keras_state: Any = global_state.GLOBAL_STATE_TRACKER


class _TrainMode(tf.keras.layers.Layer):  # type: ignore[type-arg]  # not subscriptable at run time
    """A layer that is never called: it only stands for the outer one that layers ask for their mode."""


_outer: Any = _TrainMode(name="train_mode")


class _in_train_mode:  # a context manager; contextlib's would take another microsecond
    """Keras layers that are called inside are in train mode, unless one says otherwise.

    What an outer layer's call does about it, without the call: it would take hundreds of microseconds, and
    turn an exception into one of Keras's own.
    """

    def __init__(self, layers: Iterable[Any]) -> None:
        self._layers = layers

    def __enter__(self) -> None:
        for layer in self._layers:
            if layer.__dict__.get("_losses"):  # they would pile up from call to call
                layer._clear_losses()
        self._context = _outer._get_call_context()
        self._before = self._context.get_value("training")
        self._context.set_value("training", True)

    def __exit__(self, *error: object) -> None:
        self._context.set_value("training", self._before)
        _outer._maybe_reset_call_context()


def _training_context() -> Any:
    """Return what makes Keras layers that are called now train: a train forward, or an outer layer's call.

    None if there is nothing. Read where Keras keeps it, as its own look-up takes five times as long.
    """
    context = keras_state.__dict__.get("current_call_ctx")
    if context is None:
        return None
    training = context.get_value("training")  # in a graph it may be a tensor
    return None if training is None or training is False else context


class _in_inference_mode:
    """Keras layers that are called inside are in inference mode, unless one says otherwise.

    That is what they are in anyway, save inside of what trains.
    """

    def __enter__(self) -> None:
        self._context = _training_context()
        if self._context is not None:
            self._before = self._context.get_value("training")
            self._context.set_value("training", False)

    def __exit__(self, *error: object) -> None:
        if self._context is not None:
            self._context.set_value("training", self._before)


_MODE_FREE = (
    tf.keras.Sequential,
    tf.keras.layers.InputLayer,
    tf.keras.layers.Dense,
    tf.keras.layers.Conv2D,
    tf.keras.layers.Embedding,
    tf.keras.layers.LayerNormalization,
    tf.keras.layers.Flatten,
    tf.keras.layers.Activation,
    tf.keras.layers.ReLU,
)


def _modes_matter(layers: Iterable[Any]) -> bool:
    """Whether training may differ from use for some Keras layer; one that we do not know may."""
    return any(type(layer) not in _MODE_FREE for layer in layers)


class _Contents:
    """What the lists, dicts and Sequentials among some parts held when one looked.

    They can be extended without their owner's knowledge, so each call asks again. Lists are compared, which
    asks for identity first: elements that are the same cost nothing more.
    """

    def __init__(self, parts: Iterable[object]) -> None:
        parts = list(parts)
        self.layers = [part for part in parts if isinstance(part, tf.keras.layers.Layer)]
        found = [(part, _content(part)) for part in parts if _extensible(part)]
        self.seen = [(part, content, [*content(part)]) for part, content in found]

    def changed(self) -> bool:
        """Whether one of them holds anything else now."""
        try:
            for holder, content, held in self.seen:  # `any` over a generator would take twice as long
                if content(holder) != held:
                    return True
        except Exception:  # two that are no layers, and cannot be compared
            return True
        return False


def _extensible(part: object) -> bool:
    """Whether a layer may be put into a part later on. The lists inside our own layers are never extended."""
    if isinstance(part, tf.Module):
        return False
    if isinstance(part, list):
        return not (part and all(getattr(element, "mode_free", False) for element in part))
    return isinstance(part, (tf.keras.Sequential, Mapping))


def _content(holder: Any) -> Callable[[Any], list[object]]:
    """Return how to get at what a part of this kind holds."""
    if isinstance(holder, tf.keras.Sequential):
        return attrgetter("_layers")
    return _values if isinstance(holder, Mapping) else list


def _values(holder: Mapping[object, object]) -> list[object]:
    return list(holder.values())
