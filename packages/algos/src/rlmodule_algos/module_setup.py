"""From a config and the agents' spaces to modules.

What is given for an id goes first, then the template, then the algorithm's config, then what the
environment tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.sampling import PolicyMapping, Spaces
from rlmodule_algos.settings import ConfigError, thawed
from rlmodule_core import (
    DEFAULT_MODULE_ID,
    MultiAgentRLModule,
    MultiAgentRLModuleSpec,
    RLModule,
    SingleAgentRLModuleSpec,
)
from rlmodule_core.catalog_protocol import CatalogClass


class ModuleSetup:
    """Knows what the modules of a run are built from, also of one that is added later."""

    def __init__(
        self,
        config: AlgorithmConfig,
        agents: Mapping[str, Spaces],
        default_module_class: type[RLModule],
        default_catalog_class: CatalogClass,
    ) -> None:
        self._config = config
        self._known = SingleAgentRLModuleSpec(
            module_class=default_module_class,
            model_config_dict=thawed(config.model),
            catalog_class=default_catalog_class,
        )
        self._spaces = module_spaces(config, agents)
        self.joined: dict[str, SingleAgentRLModuleSpec | None] = {}
        """What was given for modules that were built later; some may have left since."""

    def build(self) -> MultiAgentRLModule:
        """Build the modules. Raises ConfigError or ValueError that names what is missing or does not fit."""
        given = self._config.rl_module_spec
        if not isinstance(given, MultiAgentRLModuleSpec):
            given = MultiAgentRLModuleSpec(module_specs=given or SingleAgentRLModuleSpec())
        spec = given.filled_in({key: self._with_spaces(key) for key in self._spaces})
        for key, own in policies_of(self._config).items():
            if own is not None:
                spec.modules[key].update(own)
        for key, module_spec in spec.modules.items():
            self._require_framework(key, module_spec)
        return spec.build()

    def build_one(self, module_id: str, given: SingleAgentRLModuleSpec | None) -> RLModule:
        """Build a module that joins later; where its spaces are not given, they are those of all agents."""
        spec = self._with_spaces(module_id)
        if given is not None:
            spec.update(given)
        self._require_framework(module_id, spec)
        module = spec.build()
        self.joined[module_id] = None if given is None else replace(given)
        return module

    def _with_spaces(self, module_id: str) -> SingleAgentRLModuleSpec:
        spaces = self._spaces.get(module_id) or self._common_spaces()
        if spaces is None:
            return replace(self._known)
        return replace(self._known, observation_space=spaces.observation, action_space=spaces.action)

    def _common_spaces(self) -> Spaces | None:
        """Return the spaces of all agents if they are the same, for a module that acts for none as yet."""
        first, *others = [spaces for spaces in self._spaces.values() if spaces is not None]
        return None if any(spaces != first for spaces in others) else first

    def _require_framework(self, module_id: str, spec: SingleAgentRLModuleSpec) -> None:
        framework = getattr(spec.module_class, "framework", None)
        if framework != self._config.framework_name:
            raise ConfigError(
                f"rl_module: {module_id}: {getattr(spec.module_class, '__name__', spec.module_class)} is a "
                f"module of framework {framework!r}, but the config says "
                f"framework({self._config.framework_name!r})"
            )


def policies_of(config: AlgorithmConfig) -> dict[str, SingleAgentRLModuleSpec | None]:
    """Return the recipe of each policy that the config names; None: the usual one."""
    given = config.policies
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)


def policy_mapping(config: AlgorithmConfig) -> PolicyMapping:
    """Return what gives each agent its module: without a mapping, the same one to all."""
    return config.policy_mapping_fn or _default_policy


def _default_policy(agent: str) -> str:
    return DEFAULT_MODULE_ID


def module_spaces(config: AlgorithmConfig, agents: Mapping[str, Spaces]) -> dict[str, Spaces | None]:
    """Return the spaces of every module id; None for a policy that no agent is mapped to as yet.

    Raises ConfigError if the mapping gives an id that is no policy, or agents of different spaces to one.
    """
    if len(agents) == 1 and (config.policies or config.policy_mapping_fn is not None):
        _require_many(config, agents)
    mapping = policy_mapping(config)
    of_module: dict[str, list[str]] = {}
    for agent in agents:
        of_module.setdefault(mapping(agent), []).append(agent)
    problems = []
    policies = policies_of(config)
    if policies and (unknown := sorted(set(of_module) - set(policies))):
        problems.append(
            f"policy_mapping_fn gives {unknown}, but policies are {sorted(policies)}; add them there"
        )
    for module_id, members in of_module.items():
        if any(agents[agent] != agents[members[0]] for agent in members):
            problems.append(
                f"the agents {members} have different spaces, but one module, {module_id!r}; map them to "
                "modules of their own with policy_mapping_fn"
            )
    if problems:
        raise ConfigError(f"multi_agent: {'; '.join(problems)}")
    known: dict[str, Spaces | None] = dict.fromkeys(policies)
    return known | {module_id: agents[members[0]] for module_id, members in of_module.items()}


def _require_many(config: AlgorithmConfig, agents: Mapping[str, Spaces]) -> None:
    from rlmodule_algos.sampling.world import SINGLE_AGENT

    if SINGLE_AGENT in agents:
        raise ConfigError(
            "multi_agent: policies and policy_mapping_fn are for a MultiAgentEnv, but the environment "
            f"{config.env!r} has one agent; leave them out"
        )
