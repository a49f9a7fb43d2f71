"""Demonstrations: the files of Stable-Baselines and imitation, and the recorded play of the catalogue."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modicum.core import catalogue
from modicum.core.safeload import load_npy, read_members
from modicum.errors import ConfigError, DataError

Published = Literal["overcooked-train", "overcooked-test", "cartpole", "pendulum"]

_FILES = {
    "overcooked-train": ("demonstrations/overcooked", "overcooked_cramped_room_train.npz"),
    "overcooked-test": ("demonstrations/overcooked", "overcooked_cramped_room_test.npz"),
    "cartpole": ("demonstrations/stable-baselines", "expert_cartpole.npz"),
    "pendulum": ("demonstrations/stable-baselines", "expert_pendulum.npz"),
}
_KNOWN = {"obs", "actions", "acts", "episode_starts", "episode_returns", "indices", "dones", "trial", "step"}
_MAX_BYTES = 8 * 2**30
_MOST_ACTIONS = 65_536  # a policy has a logit for each


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """What a demonstrator saw and did.

    Args:
        observations: finite numbers, shape (N, ...).
        actions: integers from 0 on, shape (N,); or vectors of real numbers, shape (N, D).
        starts: whether an episode starts at a step, shape (N,).
        returns: of the episodes, if known.
        action_count: how many actions there are; by default one more than the largest. 0 if they are vectors.

    Raises:
        ConfigError: if lengths disagree, an observation is not finite, or an action is outside of the space.
    """

    observations: NDArray[Any]
    actions: NDArray[Any]
    starts: NDArray[np.bool] | None = None
    returns: NDArray[np.floating] | None = None
    action_count: int | None = None

    def __post_init__(self) -> None:
        for name in ("observations", "actions"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        arrays = (self.observations, self.actions, *([] if self.starts is None else [self.starts]))
        lengths = [len(array) if array.ndim else 0 for array in arrays]
        if min(lengths) == 0 or len(set(lengths)) > 1:
            raise ConfigError(
                f"Observations and actions must have one length, at least 1, got {', '.join(map(str, lengths))}.",
                hint="Give one action for each observation.",
            )
        if self.observations.ndim < 2:
            raise ConfigError(
                f"Observations must have the shape (N, ...), got {self.observations.shape}.",
                hint="Give a row of numbers a step: observations[:, None] where there is one number.",
            )
        check_finite(self.observations)
        actions = self.actions
        if actions.dtype.kind not in "iu":
            check_finite(actions)
            if actions.ndim == 1:  # also a file that keeps the integers of discrete actions as floats
                raise ConfigError(
                    f"Actions were expected as integers of the shape (N,) or vectors of the shape (N, D), got "
                    f"{actions.dtype} of the shape {actions.shape}.",
                    hint="Convert discrete actions with astype(int), and real ones with reshape(-1, 1).",
                )
            object.__setattr__(self, "action_count", 0)
            return
        if actions.ndim != 1:
            raise ConfigError(
                f"Integer actions must have the shape (N,), got {actions.shape}.", hint="Give one action a step."
            )
        lowest, highest = int(actions.min()), int(actions.max())
        count = max(highest, 0) + 1 if self.action_count is None else self.action_count
        if count > _MOST_ACTIONS:
            raise ConfigError(
                f"There are at most {_MOST_ACTIONS:,} actions, but one of the demonstrations is {highest:,}.",
                hint="Number the actions that occur from 0 on.",
            )
        if lowest < 0 or highest >= count:
            raise ConfigError(
                f"Actions must be from 0 to {count - 1}, got {lowest} to {highest}.",
                hint="Count actions from 0, and correct them or action_count.",
            )
        object.__setattr__(self, "action_count", count)

    def __len__(self) -> int:
        return len(self.observations)

    def discrete(self) -> int:
        """Give the number of actions, for what learns from integers alone; vectors are refused."""
        if not self.action_count:
            raise ConfigError(
                f"Discrete actions are needed, but these are {self.actions.dtype} of the shape {self.actions.shape}.",
                hint="Train a Gaussian policy with PeerLoss(base='gaussian'), or discretise the actions.",
            )
        return self.action_count


def check_finite(values: NDArray[Any]) -> None:
    """Refuse NaN and infinity in observations or actions."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ConfigError(
            f"Observations and actions must be finite, but row {row} has {values[row].ravel()[:8]}.",
            hint="Drop such steps, or clip what the environment returns.",
        )
    if values.dtype.kind not in "biuf":
        raise ConfigError(f"Numbers were expected, got an array of {values.dtype}.", hint="Convert it to float32.")


def read_demonstrations(path: Path | str, action_count: int | None = None) -> Demonstrations:
    """Read an .npz of Stable-Baselines (GAIL), of imitation, or of the catalogue's Overcooked.

    It has ``obs`` with ``actions``, one row a step, or with ``acts``: imitation's transitions, or its trajectories with
    one more observation each and ``indices`` of their ends. Other arrays, such as pickled ``infos``, are not opened.

    Args:
        path: the file.
        action_count: see `Demonstrations`.

    Returns:
        The steps in their order.

    Raises:
        DataError: if the file is damaged or has not these arrays.
        UnsafeFileError: if one of them holds pickled objects, or they are too large.
        ConfigError: as for `Demonstrations`.
    """
    if not Path(path).is_file():
        raise DataError(f"There is no file {path}.", hint="Give an .npz file of demonstrations.")
    arrays = _load(Path(path))
    if "obs" not in arrays or not arrays.keys() & {"actions", "acts"}:
        raise DataError(
            f"{path} needs the arrays obs and actions (or acts), it has {', '.join(sorted(arrays)) or 'none of them'}.",
            hint="Save it with numpy.savez(path, obs=..., actions=...).",
        )
    _check_starts(arrays, str(path))
    observations, starts = arrays["obs"], arrays.get("episode_starts")
    actions = arrays["actions"] if "actions" in arrays else arrays["acts"]
    if "trial" in arrays:  # two cooks a game, whose rows alternate
        starts = arrays["step"] == 0
    if "indices" in arrays:
        observations, starts = _trajectories(observations, arrays["indices"], len(actions), str(path))
    elif starts is None and "dones" in arrays:
        starts = np.concatenate([[True], arrays["dones"][:-1].astype(bool)])
    if actions.ndim == 2 and actions.shape[1] == 1 and actions.dtype.kind in "iu":
        actions = actions[:, 0]  # Stable-Baselines keeps an axis for discrete actions
    if actions.dtype.kind in "iu":
        actions = actions.astype(np.int64)
    return Demonstrations(observations, actions, starts, arrays.get("episode_returns"), action_count)


def published_demonstrations(name: Published) -> Demonstrations:
    """Give demonstrations of the catalogue.

    Args:
        name: "overcooked-train" or "overcooked-test" (humans in the cramped room, two rows a joint step, other people
            in each); "cartpole" or "pendulum" (experts, the second with continuous actions).

    Raises:
        ConfigError: if there are none of this name.
        MissingDataError: if they are nowhere and cannot be fetched.
    """
    if name not in _FILES:
        raise ConfigError(f"There are no demonstrations {name!r}.", hint=f"Use one of {', '.join(_FILES)}.")
    data_set, file = _FILES[name]
    return read_demonstrations(catalogue.fetch(data_set) / file, 6 if data_set.endswith("overcooked") else None)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Read the known arrays alone: `load_npz` would refuse a file for others that are pickled."""
    wanted = {f"{name}.npy" for name in _KNOWN}
    arrays: dict[str, NDArray[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in read_members(path, max_members=1000, max_bytes=_MAX_BYTES, select=wanted.__contains__):
            part = Path(folder) / name
            part.write_bytes(data)
            try:
                arrays[part.stem] = load_npy(part, max_bytes=_MAX_BYTES)
            except DataError as error:
                error.what = error.what.replace(str(part), f"{name} in {path}")
                raise
    return arrays


def _check_starts(arrays: dict[str, NDArray[Any]], path: str) -> None:
    for name in ("episode_starts", "indices", "dones", "trial", "step"):
        if name in arrays and arrays[name].ndim != 1:
            raise DataError(
                f"{name} in {path} must have the shape (N,), it has {arrays[name].shape}.",
                hint="Save it with reshape(-1), or without the rows of other environments.",
            )
    if "trial" in arrays and "step" not in arrays:
        raise DataError(
            f"{path} has trial but no step, whose 0 starts a trial.", hint="Save step, too, or episode_starts alone."
        )


def _trajectories(
    observations: NDArray[Any], ends: NDArray[Any], count: int, path: str
) -> tuple[NDArray[Any], NDArray[np.bool]]:
    """Drop the last observation of each trajectory, after which nobody acted."""
    begins = np.concatenate([[0], ends]).astype(np.int64)
    if len(observations) != count + len(begins) or (np.diff([*begins, count]) <= 0).any():
        raise DataError(
            f"{path} has {count} actions in {len(begins)} trajectories, which need {count + len(begins)} observations, "
            f"but there are {len(observations)}.",
            hint="Save one more observation than actions for each trajectory.",
        )
    starts = np.zeros(count, dtype=bool)
    starts[begins] = True
    last = np.append(begins[1:], count) + np.arange(len(begins))
    return np.delete(observations, last, axis=0), starts
