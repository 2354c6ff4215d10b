"""From a config and the agents' spaces to modules.

What is given for an id goes first, then the template, then the algorithm's config, then what the
environment tells.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace

from rlmodule_algos.config import AlgorithmConfig
from rlmodule_algos.sampling import PolicyMapping, Spaces
from rlmodule_algos.sampling.world import SINGLE_AGENT
from rlmodule_algos.settings import ConfigError, thawed
from rlmodule_core import (
    DEFAULT_MODULE_ID,
    MultiAgentRLModule,
    MultiAgentRLModuleSpec,
    RLModule,
    SingleAgentRLModuleSpec,
)
from rlmodule_core.catalog_protocol import CatalogClass
from rlmodule_core.multi_agent_config import id_problem


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
        self._one_agent = SINGLE_AGENT in agents

    def build(self) -> MultiAgentRLModule:
        """Build the modules. Raises ConfigError or ValueError that names what is missing or does not fit."""
        spec = self._recipes()
        for key, module_spec in spec.modules.items():
            self._require_framework(key, module_spec)
        return spec.build()

    def _recipes(self) -> MultiAgentRLModuleSpec:
        """Return the recipes of the modules that the config names."""
        given = self._config.rl_module_spec
        if not isinstance(given, MultiAgentRLModuleSpec):
            given = MultiAgentRLModuleSpec(module_specs=given or SingleAgentRLModuleSpec())
        spec = given.filled_in({key: self._with_spaces(key) for key in self._spaces})
        for key, own in policies_of(self._config).items():
            if own is not None:
                spec.modules[key].update(own)
        return spec

    @property
    def module_ids(self) -> list[str]:
        """The ids of the modules that the config names."""
        return sorted(self._spaces)

    def require_may_join(self, module_id: str) -> None:
        """Raise ConfigError if a module of this id could not act or not be saved."""
        self._require_many("add_module", "no other module could act")
        if problem := module_id_problem(module_id):
            raise ConfigError(f"add_module: module id {module_id!r}: {problem}")

    def require_may_leave(self) -> None:
        """Raise ConfigError if nobody could act without one of the modules."""
        self._require_many("remove_module", "nobody could act without it")

    def _require_many(self, where: str, why: str) -> None:
        if self._one_agent:
            raise ConfigError(
                f"{where}: the environment {self._config.env!r} has one agent, for whom the module "
                f"{DEFAULT_MODULE_ID!r} acts: {why}; modules come and go in a MultiAgentEnv"
            )

    def build_one(self, module_id: str, given: SingleAgentRLModuleSpec | None) -> RLModule:
        """Build a module that joins later; where its spaces are not given, they are those of all agents.

        One of the config's own, which had left, has the config's recipe.
        """
        own = module_id in self._spaces
        spec = self._recipes().modules[module_id] if own else self._with_spaces(module_id)
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


def module_id_problem(module_id: object) -> str | None:
    """Say why something cannot be the id of a module, or None: it names a part of every checkpoint.

    >>> module_id_problem("team/red")
    "expected a name without '/'"
    """
    if problem := id_problem(module_id):
        return problem
    if not module_id:
        return "expected a name, got an empty one"
    if module_id == "__all__":  # is in what an environment of many agents returns
        return "this name means something else; take another"
    return "expected a name without '/'" if "/" in str(module_id) else None


def policy_mapping(given: PolicyMapping | None) -> PolicyMapping:
    """Return what gives each agent its module, checked: without a mapping, the same one to all.

    Raises ConfigError, here for a function that does not take one agent id, and when it is asked for one
    that fails, or answers with what is no id.
    """
    if given is None:
        return _default_policy
    _require_one_argument(given)

    def mapping(agent: str) -> str:
        called = f"multi_agent: policy_mapping_fn({agent!r})"
        try:
            module_id: object = given(agent)
        except Exception as error:
            raise ConfigError(f"{called} raised {type(error).__name__}: {error}") from error
        if problem := module_id_problem(module_id):
            raise ConfigError(f"{called} returned {module_id!r:.40}, which is no module id: {problem}")
        return str(module_id)

    return mapping


def _require_one_argument(given: Callable[[str], str]) -> None:
    try:
        signature = inspect.signature(given)
    except ValueError:  # of a built-in function that does not tell
        return
    try:
        signature.bind("agent")
    except TypeError:
        raise ConfigError(
            "multi_agent: policy_mapping_fn: expected a function of the agent id alone, got one of "
            f"{signature}; a mapping of RLlib's, of (agent_id, episode, **kwargs), goes in as "
            "lambda agent: fn(agent, None), if it does not look at the episode"
        ) from None


def _default_policy(agent: str) -> str:
    return DEFAULT_MODULE_ID


def module_spaces(config: AlgorithmConfig, agents: Mapping[str, Spaces]) -> dict[str, Spaces | None]:
    """Return the spaces of every module id; None for a policy that no agent is mapped to as yet.

    Raises ConfigError if the mapping gives an id that is no policy, or agents of different spaces to one.
    """
    if len(agents) == 1 and (config.policies or config.policy_mapping_fn is not None):
        _require_many(config, agents)
    mapping = policy_mapping(config.policy_mapping_fn)
    of_module: dict[str, list[str]] = {}
    for agent in agents:
        of_module.setdefault(mapping(agent), []).append(agent)
    policies = policies_of(config)
    problems = [
        f"policies: module id {key!r}: {problem}" for key in policies if (problem := module_id_problem(key))
    ]
    if policies and (unknown := sorted(set(of_module) - set(policies))):
        problems.append(
            f"policy_mapping_fn gives {unknown}, but policies are {sorted(map(str, policies))}; "
            "add them there"
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
    if SINGLE_AGENT in agents:
        raise ConfigError(
            "multi_agent: policies and policy_mapping_fn are for a MultiAgentEnv, but the environment "
            f"{config.env!r} has one agent; leave them out"
        )
