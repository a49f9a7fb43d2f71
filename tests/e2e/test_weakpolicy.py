"""The commands of PeerPL as a user meets them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.e2e.in_process import run_here

QUICK = ("--updates", "20", "--episodes", "3", "--xi", "0.5")


def write(path: Path, **changes: Any) -> Path:
    """Write demonstrations of CartPole as Stable-Baselines does, in part changed."""
    draws = np.random.default_rng(0)
    states = draws.uniform(-0.1, 0.1, size=(200, 4)).astype(np.float32)
    arrays = {"obs": states, "actions": (states[:, 2] > 0).astype(int), "episode_starts": np.arange(200) % 20 == 0}
    np.savez(path, **(arrays | changes))
    return path


def clone(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_here("weakpolicy", "clone", *arguments, *QUICK, cwd=folder)


def test_clone_prints_a_table_says_what_to_ship_and_writes_it(tmp_path: Path) -> None:
    demonstrations = write(tmp_path / "demos.npz")
    outputs = ("--out", "policy.onnx", "--plot", "path.png")
    done = clone(tmp_path, demonstrations, "--env", "CartPole-v1", *outputs)
    assert done.returncode == 0, done.stderr
    assert "class-balanced BC" in done.stdout
    assert "Ship " in done.stdout
    assert (tmp_path / "policy.onnx").stat().st_size > 1000
    assert (tmp_path / "path.png").read_bytes()[:4] == b"\x89PNG"


def test_clone_gives_json(tmp_path: Path) -> None:
    done = clone(tmp_path, write(tmp_path / "demos.npz"), "--test", write(tmp_path / "test.npz"), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["gain"] is None
    assert found["policies"]["greedy BC"]["entropy"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actions": np.zeros(199, dtype=int)}, "one length"),
        ({"actions": np.full(200, -1)}, "from 0"),
        ({"obs": np.full((200, 4), np.nan)}, "row 0"),
        ({"obs": np.full((200, 4), None)}, "pickle"),
        ({"actions": np.zeros((200, 2))}, "Discrete actions"),
        ({"obs": np.zeros((200, 3))}, "CartPole-v1 has observations of shape (4,)"),
        ({"actions": np.full(200, 5)}, "2 actions"),
    ],
)
def test_demonstrations_that_cannot_be_cloned_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    done = clone(tmp_path, write(tmp_path / "demos.npz", **changes), "--env", "CartPole-v1", "--out", "policy.onnx")
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert not (tmp_path / "policy.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demos.npz", "--xi", "-1"), "xi must be a number from 0 on, got -1"),
        (("demos.npz", "--env", "NoSuch-v0"), "NoSuch"),
        (("demos.npz", "--out", "policy.zip"), ".onnx"),
        (("demos.npz", "--plot", "path.txt"), ".png"),
        (("demos.npz", "--episodes", "0"), "--episodes is 0"),
        (("nothing.npz",), "nothing.npz"),
        (("pendulum",), "Discrete actions"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    write(tmp_path / "demos.npz")
    done = run_here("weakpolicy", "clone", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["demos.npz"]


def train(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return run_here("weakpolicy", "train", "CartPole-v1", *arguments, "--engine", "inline", cwd=folder)


def test_train_compares_learners_draws_curves_and_goes_on(tmp_path: Path) -> None:
    learners = ("--learner", "noisy", "--learner", "target", "--learner", "difference", "--learner", "surrogate")
    arguments = ("--noise", "0.3", *learners, "--steps", "150", "--seeds", "1", "--out", "agents")
    done = train(tmp_path, *arguments, "--plot", "curves.svg")
    assert done.returncode == 0, done.stderr
    assert "surrogate" in done.stdout
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    agents = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "agents").glob("*.zip")}
    assert len(agents) == 4
    again = train(tmp_path, *arguments, "--json")
    assert [row["learner"] for row in json.loads(again.stdout)] == list(learners[1::2])
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "agents").glob("*.zip")} == agents


def test_train_takes_an_on_policy_agent_and_says_when_the_theorem_fails(tmp_path: Path) -> None:
    noise = ("--noise", "0.5", "--kind", "two_extremes", "--levels=-1,0,1")
    learners = ("--learner", "target", "--learner", "true")
    done = train(tmp_path, *noise, "--agent", "ppo", *learners, "--steps", "128", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "not affine" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--noise", "1.5"), "--noise"),
        (("--noise", "0.2", "--levels", "a,b"), "--levels takes numbers"),
        (("--noise", "0.2", "--levels=1,-1"), "rising"),
        (("--noise", "0.2", "--xi", "1"), "below 1"),
        (("--noise", "0.2", "--learner", "best"), "--learner best"),
        (("--noise", "0.2", "--learner", "difference", "--agent", "ppo"), "difference"),
        (("--noise", "0.2", "--levels=-1,0", "--learner", "noisy"), "must be one of the levels [-1.0, 0.0]"),
        (("--noise", "0.2", "--levels=-1,0", "--discretise", "--learner", "noisy"), "highest level"),
        (("--noise", "0.5", "--levels=0,1", "--kind", "uniform", "--learner", "surrogate"), ""),
    ],
)
def test_trainings_that_cannot_be_are_refused(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = train(tmp_path, *arguments, "--steps", "30", "--seeds", "1")
    assert done.returncode == (2 if words else 0), done.stdout
    assert words in done.stderr
