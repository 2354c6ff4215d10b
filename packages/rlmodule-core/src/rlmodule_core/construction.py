"""Building an object of a user's class, whose constructor may forget that of its base."""

from __future__ import annotations

from typing import Any


def constructed(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], *, mark: str, remedy: str) -> Any:
    """Return a new object. Raises TypeError with the remedy unless its base's constructor has set `mark`."""
    made: Any = cls.__new__(cls, *args, **kwargs)
    failure = None
    try:
        made.__init__(*args, **kwargs)
    except AttributeError as error:  # a part or the config, used before there can be one
        failure = error
    if mark not in vars(made):
        raise TypeError(
            f"{cls.__name__}.__init__: the constructor of the base did not run{remedy}"
        ) from failure
    if failure is not None:
        raise failure
    return made
