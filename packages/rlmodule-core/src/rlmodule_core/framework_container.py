"""One class out of two: the container as its author wrote it, and the framework's own kind."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlmodule_core.multi_agent import MultiAgentRLModule


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
