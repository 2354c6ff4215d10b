"""Whatever recorded data comes as -> episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, cast

from rlmodule_algos.offline.agents import episodes_from_file
from rlmodule_algos.offline.episode import Episodes, OfflineEpisode, episode_from_columns, unlike
from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_algos.offline.minari_data import is_minari_id, minari_episodes, minari_folder
from rlmodule_algos.offline.npz import read_npz
from rlmodule_algos.offline.parquet import read_parquet

READERS = {".npz": read_npz, ".parquet": read_parquet, ".pq": read_parquet}
WHERE = "offline data"

EpisodeLike: TypeAlias = OfflineEpisode | Mapping[str, Any]
"""An episode, its columns, or a mapping of agents to one of these."""
OfflineInput: TypeAlias = (
    str | PathLike[str] | Sequence[str | PathLike[str] | EpisodeLike] | Callable[[], Any]
)
"""A Minari dataset's id or folder, `.npz` or Parquet files or their folder, a list of episodes, or what
returns one of these."""


def read_episodes(input_: OfflineInput) -> Episodes:
    """Return the episodes, those of many agents as `{agent id: episode}`.

    Raises OfflineDataError with all that is wrong in them, and ImportError for a format that needs the
    extra `offline`.
    """
    if callable(input_):
        try:
            input_ = input_()
        except Exception as error:  # whatever the user's function raises
            raise OfflineDataError(WHERE, [f"the callable raised {type(error).__name__}: {error}"]) from error
        if callable(input_):
            raise OfflineDataError(WHERE, ["the callable returned another callable; return the data"])
    if isinstance(input_, (str, PathLike)):
        episodes = _from_path(input_)
    elif isinstance(input_, (list, tuple)):
        episodes = _from_items(input_)
    else:
        hint = "put a single episode in a list" if isinstance(input_, (Mapping, OfflineEpisode)) else ""
        kinds = "a path, a Minari dataset's id, a list of episodes or a callable"
        problem = f"expected {kinds}, got {type(input_).__name__}"
        raise OfflineDataError(WHERE, ["; ".join(filter(None, [problem, hint]))])
    _require_alike(episodes)
    return episodes


def _from_path(source: str | PathLike[str]) -> Episodes:
    path = Path(source).expanduser()
    if path.is_file():
        return _from_file(path)
    if path.is_dir():
        return _from_folder(path)
    if isinstance(source, str) and path.suffix not in READERS and is_minari_id(source):
        return minari_episodes(source)
    hint = "; the id of a Minari dataset ends in its version, as in 'name-v0'" if not path.suffix else ""
    raise OfflineDataError(WHERE, [f"there is no file or folder {str(source)!r}{hint}"])


def _from_folder(folder: Path) -> Episodes:
    if data := minari_folder(folder):
        return minari_episodes(data)
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    readable = [path for path in files if path.suffix in READERS]
    if not readable:
        found = f"it has {[path.name for path in files[:5]]}" if files else "it has no files"
        raise OfflineDataError(str(folder), [f"no {', '.join(READERS)} file, and no Minari dataset; {found}"])
    return _joined([_from_file(path) for path in readable])


def _from_file(path: Path) -> Episodes:
    if path.suffix not in READERS:
        raise OfflineDataError(str(path), [f"expected one of {', '.join(READERS)}, got {path.suffix!r}"])
    columns = READERS[path.suffix](path)
    try:
        return episodes_from_file(columns)
    except OfflineDataError as error:
        inner = "" if error.where == "table" else f"{error.where}: "
        raise OfflineDataError(str(path), [inner + problem for problem in error.problems]) from error


def _from_items(items: Sequence[Any]) -> Episodes:
    """Read a list: of files, or of episodes."""
    if not items:
        raise OfflineDataError(WHERE, ["expected at least one episode, got an empty list"])
    if all(isinstance(item, (str, PathLike)) for item in items):
        return _joined([_from_path(item) for item in items])
    episodes: list[Any] = []
    problems: list[str] = []
    for index, item in enumerate(items):
        try:
            episodes.append(_episode(item))
        except OfflineDataError as error:
            problems += [f"episode {index}: {problem}" for problem in error.problems]
    require_none(WHERE, problems)
    return _joined([[episode] for episode in episodes])


def _episode(item: object) -> OfflineEpisode | dict[str, OfflineEpisode]:
    if isinstance(item, OfflineEpisode):
        return item
    if not isinstance(item, Mapping):
        raise OfflineDataError("item", [f"expected a mapping of columns, got {type(item).__name__}"])
    if not item or not all(isinstance(part, (Mapping, OfflineEpisode)) for part in item.values()):
        return episode_from_columns(item)  # rewards and flags are never mappings, so these are columns
    agents: dict[str, OfflineEpisode] = {}
    problems: list[str] = []
    for agent, part in item.items():
        try:
            agents[agent] = part if isinstance(part, OfflineEpisode) else episode_from_columns(part)
        except OfflineDataError as error:
            problems += [f"agent {agent!r}: {problem}" for problem in error.problems]
    require_none("item", problems)
    return agents


def _joined(parts: Sequence[Episodes]) -> Episodes:
    """Join what several files or items gave, either all of one agent or all of many."""
    episodes = [episode for part in parts for episode in part]
    if len({isinstance(episode, OfflineEpisode) for episode in episodes}) > 1:
        raise OfflineDataError(WHERE, ["some episodes are of one agent, and some are {agent id: episode}"])
    return cast(Episodes, episodes)


def _require_alike(episodes: Episodes) -> None:
    """Raise OfflineDataError if columns differ in structure or shape from episode to episode."""
    if not episodes:
        raise OfflineDataError(WHERE, ["expected at least one episode, got none"])
    by_agent: dict[str | None, dict[int, OfflineEpisode]] = {}
    known: Sequence[OfflineEpisode | dict[str, OfflineEpisode]] = episodes
    for index, episode in enumerate(known):
        parts = {None: episode} if isinstance(episode, OfflineEpisode) else episode
        for agent, part in parts.items():
            by_agent.setdefault(agent, {})[index] = part
    problems = []
    for agent, of_agent in by_agent.items():
        named = "" if agent is None else f"agent {agent!r}: "
        problems += [
            named + problem
            for problem in unlike(list(of_agent.values()), dtypes=False, numbers=list(of_agent))
        ]
    require_none(WHERE, problems)
