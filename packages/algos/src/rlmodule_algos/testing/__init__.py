"""Tiny tasks whose best and blind returns are known exactly, to find out whether something learns."""

from rlmodule_algos.testing.scripted import ScriptedMultiAgentEnv

__all__ = ["ScriptedMultiAgentEnv"]
