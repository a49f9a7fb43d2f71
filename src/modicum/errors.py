"""Everything modicum raises on purpose, as one tree.

    ModicumError
    ├── InputError (ValueError)              what came in is wrong; exit status 2
    │   ├── ConfigError                      an argument, an option or a folder
    │   ├── ModelError                       a model that the method cannot work on
    │   ├── DataError                        a data file: the file and, where it has rows, the row
    │   │   ├── ChecksumError                the bytes are not the published ones
    │   │   ├── UnsafeFileError              a file that would run code, or leave its folder
    │   │   └── MissingDataError             neither in MODICUM_DATA, nor cached, nor fetched
    │   └── MissingExtraError (ImportError)  an optional library is not installed
    └── RunError (RuntimeError)              the input was fine and the work failed; exit status 1
        ├── JobFailedError                   an arm raised, or returned something that is no result
        ├── WorkerDiedError                  a worker process ended in the middle of its job
        ├── SimulationError                  a molecule has no usable label: the reason, in words
        ├── StateError                       a call that came too early or twice
        └── JournalError                     the record of finished jobs cannot be trusted

Each carries two sentences: ``what`` was expected and what came, and ``hint``, what to do about it.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ChecksumError",
    "ConfigError",
    "DataError",
    "InputError",
    "JobFailedError",
    "JournalError",
    "MissingDataError",
    "MissingExtraError",
    "ModelError",
    "ModicumError",
    "RunError",
    "SimulationError",
    "StateError",
    "UnsafeFileError",
    "WorkerDiedError",
]


class ModicumError(Exception):
    """The root of the tree: one sentence of what is wrong, one of what to do about it.

    Args:
        what: what was expected and what came, as one sentence.
        hint: what the reader can do now, as one sentence.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive Exception's own pickling, and workers send errors home.
        return _rebuild, (type(self), self.what, self.hint)


def _rebuild(kind: type[ModicumError], what: str, hint: str) -> ModicumError:
    return kind(what, hint=hint)


class InputError(ModicumError, ValueError):
    """Something that the user handed in is wrong."""

    exit_status = 2


class ConfigError(InputError):
    """An argument, an option or a folder is not usable."""


class ModelError(InputError):
    """The method cannot work on this model."""


class DataError(InputError):
    """A data file is not what its reader expects."""


class ChecksumError(DataError):
    """The bytes of a file are not the published ones."""


class UnsafeFileError(DataError):
    """A file would run code, write outside its folder or grow without bound."""


class MissingDataError(DataError):
    """A data set is neither in ``MODICUM_DATA`` nor in the cache, and could not be fetched."""


class MissingExtraError(InputError, ImportError):
    """An optional library is not installed; the message names the extra that brings it."""


class RunError(ModicumError, RuntimeError):
    """The input was fine, but the work failed."""


class JobFailedError(RunError):
    """A job raised, or returned something that is no result."""


class WorkerDiedError(RunError):
    """A worker process ended in the middle of its job, more often than it may."""


class SimulationError(RunError):
    """The simulation of a molecule, or the look-up of its label, has no usable result."""


class StateError(RunError):
    """A call came too early, too late or twice."""


class JournalError(RunError):
    """The record of finished jobs is damaged or belongs to something else."""
