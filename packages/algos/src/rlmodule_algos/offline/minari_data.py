"""Episodes of a Minari dataset that lies on this machine. Nothing is downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from rlmodule_algos.offline.episode import OfflineEpisode, episode_from_columns
from rlmodule_algos.offline.errors import OfflineDataError, require_none
from rlmodule_algos.offline.needs import needed
from rlmodule_core import Columns

ID = re.compile(r"(?:[-\w/]+/)?[-\w]+-v\d+")
METADATA = "metadata.json"


def is_minari_id(text: str) -> bool:
    """Whether it is written as the id of a dataset: `namespace/name-v0`, the namespace optional."""
    return ID.fullmatch(text) is not None


def minari_folder(folder: Path) -> Path | None:
    """Return the folder of the data, if it is that of a dataset or the one inside it; else None."""
    return next((place for place in (folder, folder / "data") if (place / METADATA).is_file()), None)


def minari_episodes(source: str | Path) -> list[OfflineEpisode]:
    """Return the episodes of a dataset id, or of the folder of the data.

    Raises OfflineDataError for what is not there or cannot be read, ImportError without Minari.
    """
    where = f"Minari dataset {str(source)!r}"
    minari = needed("minari", f"reading the {where}")
    try:
        dataset = minari.load_dataset(source) if isinstance(source, str) else minari.MinariDataset(source)
        recorded = list(dataset.iterate_episodes())
    except ImportError as error:  # of what it keeps the data in
        raise ImportError(f"reading the {where}: {error}; pip install 'rlmodule-algos[offline]'") from error
    except FileNotFoundError as error:
        hint = f"make it, or download it first: minari download {source}"
        raise OfflineDataError(where, [f"there is no such dataset on this machine; {hint}"]) from error
    except Exception as error:  # whatever HDF5, Arrow and JSON raise
        raise OfflineDataError(where, [f"Minari cannot read it: {type(error).__name__}: {error}"]) from error
    episodes, problems = [], []
    for index, episode in enumerate(recorded):
        columns = {
            Columns.OBS: episode.observations,
            Columns.ACTIONS: episode.actions,
            Columns.REWARDS: episode.rewards,
            Columns.TERMINATED: episode.terminations,
            Columns.TRUNCATED: episode.truncations,
        }
        try:
            episodes.append(episode_from_columns(columns))
        except OfflineDataError as error:
            problems += [f"episode {index}: {problem}" for problem in error.problems]
    require_none(where, problems)
    return episodes
