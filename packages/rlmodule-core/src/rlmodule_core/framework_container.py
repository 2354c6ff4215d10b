"""One class out of two: the container as its author wrote it, and the framework's own kind."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlmodule_core.multi_agent import MultiAgentRLModule


def common_kind(modules: MultiAgentRLModule, *, where: str) -> type[MultiAgentRLModule] | None:
    """Return the container of the framework that all modules are of, or None where there are none.

    Raises ValueError that lists the frameworks if they are of several.
    """
    frameworks = {key: module.framework for key, module in modules.items()}
    if len(set(frameworks.values())) > 1:
        raise ValueError(
            f"{where}: its modules are of several frameworks: "
            f"{', '.join(f'{key} of {name}' for key, name in frameworks.items())}; "
            "make a container for each"
        )
    first = next(iter(modules.values()), None)
    return None if first is None else first.multi_agent_class()


@cache
def in_framework(cls: type[MultiAgentRLModule], kind: type[MultiAgentRLModule]) -> type[MultiAgentRLModule]:
    """Return the class that is both: what its author wrote, and the framework's container."""
    if issubclass(kind, cls):
        return kind
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    both: Any = type(cls.__name__, (cls, kind), {**names, "__reduce_ex__": _reduce})
    both.written_in = cls
    made: type[MultiAgentRLModule] = both
    return made


def _reduce(self: MultiAgentRLModule, protocol: Any) -> Any:
    """Pickle by the two classes it was made of: no module has it by name."""
    kind = next(base for base in type(self).__bases__ if base is not self.written_in)
    return _empty, (self.written_in, kind), self.__getstate__()


def _empty(cls: type[MultiAgentRLModule], kind: type[MultiAgentRLModule]) -> MultiAgentRLModule:
    made = in_framework(cls, kind)
    return made.__new__(made)
