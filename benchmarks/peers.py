"""Peers live in environments of their own, which are made when first needed and then kept."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workload import Measurement, Run

HERE = Path(__file__).parent
PATIENCE_S = 900  # for one measured run
STAMP = "installed.txt"  # written last, so an environment that has it is whole


class PeerError(RuntimeError):
    """A peer that could not be installed; the message holds the installer's last lines."""


@dataclass(frozen=True)
class Peer:
    """Another system, and the script that measures it."""

    name: str  # of its folder in `.peers/`
    title: str
    script: str
    requirements: tuple[str, ...]  # exact, so that figures of different days speak of the same peer


SB3 = Peer(
    name="sb3",
    title="Stable-Baselines3 2.9.2",
    script="run_sb3.py",
    # torch as in our own environment, to compare the libraries and not two versions of torch
    requirements=("stable-baselines3==2.9.2", "torch==2.13.0", "gymnasium==1.4.0", "numpy==2.4.6"),
)

SAMPLE_FACTORY = Peer(
    name="sample_factory",
    title="Sample Factory 2.1.1",
    script="run_sample_factory.py",
    # it holds gymnasium and NumPy back, and needs an ale-py that still goes with them
    requirements=("sample-factory==2.1.1", "torch==2.13.0", "ale-py==0.10.2"),
)

RLLIB = Peer(
    name="rllib",
    title="RLlib 2.60.0",
    script="run_rllib.py",
    requirements=(
        "ray[rllib]==2.60.0",
        "torch==2.13.0",
        "ale-py==0.12.1",
        "opencv-python-headless==5.0.0.93",
    ),
)


class BenchmarkError(RuntimeError):
    """A measured process that failed; the message is the end of what it said."""


def peer_python(peer: Peer) -> Path:
    """Return the interpreter of a peer's environment, made now unless one that fits is there.

    Raises PeerError; pip takes its configuration from where it always does.
    """
    folder = HERE / ".peers" / peer.name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / STAMP, "\n".join(peer.requirements) + "\n"
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {peer.title} into {folder.relative_to(HERE.parent)}, once ...", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], peer)
    options = ["--quiet", "--disable-pip-version-check"]
    _run([str(python), "-m", "pip", "install", *options, *peer.requirements], peer)
    stamp.write_text(wanted)
    return python


def _run(command: list[str], peer: Peer) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=peer_environment())
    if done.returncode:
        output = (done.stdout + done.stderr).strip().splitlines()
        last_lines = "\n".join(f"  {line}" for line in output[-8:])
        raise PeerError(f"{peer.title} could not be installed: {' '.join(command[1:4])} said\n{last_lines}")


def peer_environment() -> dict[str, str]:
    """Return this process's environment variables without what would lead a peer to our packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def measured(title: str, python: Path, script: str, run: Run, environment: dict[str, str]) -> Measurement:
    """Run one side in a process of its own and report it in one line. Raises BenchmarkError."""
    command = [str(python), str(HERE / script), *run.arguments()]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:  # a peer whose learner died may wait for it for ever
        raise BenchmarkError(f"{title} did not end within {PATIENCE_S} s") from error
    if done.returncode:
        said = "\n".join(f"  {line}" for line in done.stderr.strip().splitlines()[-12:])
        raise BenchmarkError(f"{title} failed (exit status {done.returncode}):\n{said}")
    measurement = Measurement.from_json(done.stdout.splitlines()[-1])
    print(f"  round {run.seed + 1}: {title:28} {measurement.steps_per_second:8,.0f} steps/s", flush=True)
    return measurement
