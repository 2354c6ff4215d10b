"""The command `rlmodule`, as a user starts it: in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlmodule_algos import PPO, Algorithm

RLMODULE = Path(sys.executable).with_name("rlmodule")
SECONDS = 300  # that a hanging command is given; one that works takes a few


def rlmodule(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RLMODULE, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "TERM": "dumb"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One short training run; its folder has a name that a terminal's markup would swallow."""
    folder = tmp_path_factory.mktemp("cli")
    arguments = ("--steps", 3000, "--stop-return", "None", "--seed", 3, "--out", "runs [bold] :smile:")
    return folder, rlmodule("train", *arguments, cwd=folder)


def the_line(text: str, start: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(start)]
    return line


def checkpoint_of(run: subprocess.CompletedProcess[str]) -> Path:
    return Path(the_line(run.stdout, "Checkpoint: ").removeprefix("Checkpoint: "))


def test_train_prints_progress_the_evaluation_and_where_the_checkpoint_is(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, run = trained
    assert run.returncode == 0, run.stderr
    assert run.stderr == ""
    progress = [line for line in run.stdout.splitlines() if line.startswith("env steps ")]
    assert len(progress) == 2
    for line in progress:
        assert re.fullmatch(r"env steps \d+/3000  return \d+\.\d  [\d,]+ steps/s  at most \d+ s left", line)
    assert re.match(r"Trained \d+ env steps in \d+", the_line(run.stdout, "Trained"))
    assert re.fullmatch(
        r"Greedy evaluation over 20 episodes: mean return \d+\.\d \(min \d+\.\d, max \d+\.\d\)",
        the_line(run.stdout, "Greedy evaluation"),
    )
    path = checkpoint_of(run)
    assert path == Path("runs [bold] :smile:/CartPole-v1-ppo-seed3/ckpt_000000002")
    assert (folder / path / "manifest.json").is_file()
    assert f"rlmodule evaluate {path}" in run.stdout


def test_evaluate_plays_what_was_trained_in_a_new_process(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, run = trained
    played = rlmodule("evaluate", checkpoint_of(run), "--episodes", 20, cwd=folder)
    assert played.returncode == 0, played.stderr
    assert played.stdout.startswith("Greedy evaluation over 20 episodes: mean return ")
    assert played.stderr == ""
    # the policy is the trained one: an untrained one balances for about 9 steps
    assert float(played.stdout.split("mean return ")[1].split()[0]) > 40.0


def test_a_folder_of_checkpoints_stands_for_the_newest(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, run = trained
    with PPO.from_checkpoint(folder / checkpoint_of(run).parent) as algorithm:
        assert algorithm.iteration == 2


@pytest.mark.parametrize("algo", ["impala", "appo"])
def test_other_algorithms_are_trained_and_played_by_name(algo: str, tmp_path: Path) -> None:
    run = rlmodule("train", "--algo", algo, "--steps", 600, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    folder = tmp_path / f"runs/CartPole-v1-{algo}-seed0"
    assert checkpoint_of(run) == Path(f"runs/CartPole-v1-{algo}-seed0/ckpt_000000002")

    with Algorithm.from_checkpoint(folder) as algorithm:
        assert algorithm.name == algo
    assert rlmodule("evaluate", folder, "--episodes", 1, cwd=tmp_path).returncode == 0


MISTAKES: list[tuple[list[object], str]] = [
    (["train", "--env", "CartPol-v1"], "environment 'CartPol-v1': it could not be made: .*`CartPole`"),
    (["train", "--steps", 0], "--steps must be at least 1, got 0"),
    (["train", "--seed", -1], "debugging: seed: expected an integer in .*, got -1"),
    (["train", "--out", "a-file"], "a-file"),
    (["evaluate", "nothing"], "nothing: no checkpoint here"),
    (["evaluate", "a-file"], "a-file: no checkpoint here"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[" ".join(map(str, m[0])) for m in MISTAKES])
def test_a_mistake_is_one_clear_line_and_exit_status_2(
    arguments: list[object], said: str, tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_text("")
    run = rlmodule(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    assert re.fullmatch(rf"rlmodule: .*{said}.*\n", run.stderr), run.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-file"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "--stepz", "3"], ["--stepz", "--steps"]),
        (["train", "--steps", "many"], ["--steps", "many"]),
        (["train", "--framework", "jax"], ["--framework", "jax", "torch"]),
        (["trian"], ["trian", "train"]),
        (["evaluate"], ["PATH", "ckpt_"]),
        ([], ["train", "evaluate"]),
    ],
    ids=" ".join,
)
def test_an_option_that_does_not_exist_is_named_with_the_nearest(
    arguments: list[str], said: list[str], tmp_path: Path
) -> None:
    run = rlmodule(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    for text in said:
        assert text in run.stderr
    assert "Traceback" not in run.stderr
    assert run.stdout == ""


def test_an_interrupt_ends_training_with_status_130_and_without_traceback(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [RLMODULE, "train", "--steps", "1000000", "--stop-return", "None"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("env steps ")
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err == "rlmodule: interrupted\n"


def listen_to_interrupts() -> None:
    """What was started in the background of a shell ignores them, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
