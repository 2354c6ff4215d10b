"""Environments, whatever they come as, seen as one stream of transitions."""

from rlmodule_algos.envs.make import EnvError, EnvSource, make_vector_env
from rlmodule_algos.envs.stream import EnvStream, Transition

__all__ = ["EnvError", "EnvSource", "EnvStream", "Transition", "make_vector_env"]
