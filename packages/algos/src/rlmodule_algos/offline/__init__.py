"""Recorded experience: read, checked, split, stacked, recorded and written."""

from rlmodule_algos.offline.checking import check_episodes
from rlmodule_algos.offline.episode import Episodes, OfflineEpisode
from rlmodule_algos.offline.errors import OfflineDataError
from rlmodule_algos.offline.reading import EpisodeLike, OfflineInput, read_episodes
from rlmodule_algos.offline.recorder import EpisodeRecorder
from rlmodule_algos.offline.recording import record_episodes
from rlmodule_algos.offline.recording_agents import record_agent_episodes
from rlmodule_algos.offline.splitting import split_episodes
from rlmodule_algos.offline.stacking import Sequences, stack_sequences, stack_steps
from rlmodule_algos.offline.writing import write_episodes

__all__ = [
    "EpisodeLike",
    "EpisodeRecorder",
    "Episodes",
    "OfflineDataError",
    "OfflineEpisode",
    "OfflineInput",
    "Sequences",
    "check_episodes",
    "read_episodes",
    "record_agent_episodes",
    "record_episodes",
    "split_episodes",
    "stack_sequences",
    "stack_steps",
    "write_episodes",
]
