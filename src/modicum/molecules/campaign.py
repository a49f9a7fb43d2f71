"""Labels for many molecules: jobs of an engine, recorded one by one, so that a killed campaign goes on.

Also the loop of active learning around it: propose molecules, label them, tell which failed, until all is covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modicum.core.progress import Progress, silent
from modicum.core.recorded import Record, run_recorded
from modicum.core.tables import write_rows
from modicum.errors import ConfigError, DataError, JobFailedError, SimulationError, WorkerDiedError
from modicum.molecules.data.labels import Label, Labeller, tabulate
from modicum.molecules.data.pool import Pool
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import PropertyTable

if TYPE_CHECKING:
    from modicum.core.engine import Engine


# What a label is computed with; the code of modicum is not part of a key, since a campaign outlives a release. A
# labeller whose way of working changes says so in its settings.
_LIBRARIES = ("openmm", "rdkit", "numpy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Campaign:
    """What came of labelling molecules."""

    labels: Mapping[str, Label]  # by canonical SMILES, in the order of the request
    failures: Mapping[str, str]  # the reason by canonical SMILES, for molecules that have no label

    def tables(self, pool: Pool | None = None) -> dict[str, PropertyTable]:
        """Give the labels as one table a property, with the other columns of their pool; see `write_table`."""
        rest = _columns(pool)
        return {
            name: replace(
                table, columns={column: tuple(texts[row] for row in table.smiles) for column, texts in rest.items()}
            )
            for name, table in tabulate(self.labels).items()
        }

    def missing(self) -> Iterator[str]:
        """Say what has no label, entirely or at some temperature, and why."""
        for smiles, reason in self.failures.items():
            yield f"{smiles} has no label: {reason}"
        for smiles, label in self.labels.items():
            for kelvin in (name for name in label.missing if name.endswith(" K")):
                yield f"{smiles} has no label at {kelvin}: {label.missing[kelvin]}"

    def write_failures(self, path: Path, pool: Pool | None = None) -> None:
        """Write the molecules without a label as CSV, with their reasons and the other columns of their pool."""
        rest = {name: texts for name, texts in _columns(pool).items() if name not in ("smiles", "reason")}
        rows = (
            {"smiles": smiles, "reason": reason} | {name: texts[smiles] for name, texts in rest.items()}
            for smiles, reason in self.failures.items()
        )
        write_rows(path, ["smiles", "reason", *rest], rows, form="csv")


class Learner(Protocol):
    """Chooses molecules of a pool, such as `ActiveLearner`."""

    @property
    def picks(self) -> Sequence[int]:
        """What is chosen already: the start."""
        ...

    def propose(self, count: int, /, *, stop_uncertainty: float | None = None) -> Sequence[int]:
        """Choose up to some molecules more, and count them as labelled; none when nothing is left uncovered."""
        ...

    def fail(self, index: int, /) -> None:
        """Take back a molecule that got no label: it covers nothing and is not chosen again."""
        ...

    def smiles(self, index: int, /) -> str:
        """Give a molecule of the pool."""
        ...


def label_molecules(
    smiles: Iterable[str],
    labeller: Labeller,
    *,
    engine: Engine,
    folder: Path,
    progress: Progress = silent,
    retry_failed: bool = False,
) -> Campaign:
    """Label molecules, each once: what the journal of the folder holds is not computed again.

    After Ctrl-C, a kill or a full disk the same call goes on; only the molecules that were running are lost. A
    molecule that cannot be labelled is recorded with its reason and does not stop the others.

    Args:
        smiles: in any spelling; the same molecule twice counts once.
        labeller: picklable for engines other than "inline".
        engine: open.
        folder: of the journal, on a local disk; made if it is missing.
        progress: called with (molecules done, molecules in all, what was done).
        retry_failed: label once more what failed before.

    Returns:
        Labels and failures of the molecules asked for.

    Raises:
        DataError: if one is not a SMILES string, before anything runs.
        InputError: as soon as a job says that the input or the setting is wrong: the others would say the same.
        JobFailedError: after all others have ended, if a job raised anything unforeseen.
        JournalError: if a result cannot be written, on a full disk say; what was written before is kept.
    """
    names = list(dict.fromkeys(_read(place, text) for place, text in enumerate(smiles, start=1)))
    libraries = {library: _version(library) for library in _LIBRARIES}
    jobs = [
        (
            name,
            {
                "labeller": labeller.name,
                "settings": labeller.settings(),
                "smiles": name,
                "libraries": libraries,
                "attempt": 0,
            },
            (labeller, name),
        )
        for name in names
    ]
    found, crashes = run_recorded(
        _execute,
        jobs,
        engine=engine,
        folder=folder,
        progress=progress,
        failure=_died,
        retry_failed=retry_failed,
    )
    if crashes:
        name, error = crashes[0]
        raise JobFailedError(
            f"{len(crashes)} of {len(names)} molecules stopped on a fault; the first ({name}) with: "
            f"{type(error).__name__}: {error}.",
            hint=f"Label it with the engine inline to see where. The others are kept in {folder}.",
        ) from error
    records = {name: record for name, record in zip(names, found, strict=True) if record is not None}
    return Campaign(
        labels={name: Label.from_json(record["label"]) for name, record in records.items() if "label" in record},
        failures={name: record["failed"] for name, record in records.items() if "failed" in record},
    )


def explore(
    learner: Learner,
    labeller: Labeller,
    *,
    engine: Engine,
    folder: Path,
    batch: int,
    stop_uncertainty: float = 0.5,
    progress: Progress = silent,
    retry_failed: bool = False,
) -> Campaign:
    """Label what a learner has chosen and asks for, until it asks for nothing.

    A learner that chooses the same from the same start makes this restartable: labels come from the journal.

    Args:
        learner: chooses; told of every molecule that failed.
        labeller: as in `label_molecules`.
        engine: open.
        folder: of the journal.
        batch: molecules chosen at once, and labelled at the same time; at least 1.
        stop_uncertainty: at which deviation it asks for nothing more, in (0, 1].
        progress: called with (molecules done, molecules chosen so far, what was done).
        retry_failed: label once more what failed before.

    Returns:
        Labels and failures of all that was chosen.

    Raises:
        ConfigError: if the batch is smaller than 1.
    """
    if batch < 1:
        raise ConfigError(f"batch must be at least 1, got {batch}.", hint="Give a positive number of molecules.")
    labels: dict[str, Label] = {}
    failures: dict[str, str] = {}
    chosen = [*learner.picks]
    while chosen or (chosen := [*learner.propose(batch, stop_uncertainty=stop_uncertainty)]):
        picks = {canonical(learner.smiles(index)): index for index in chosen}
        chosen = []
        done = len(labels) + len(failures)
        part = label_molecules(
            picks,
            labeller,
            engine=engine,
            folder=folder,
            progress=lambda now, total, text, done=done: progress(done + now, done + total, text),
            retry_failed=retry_failed,
        )
        labels.update(part.labels)
        failures.update(part.failures)
        for name in part.failures:
            learner.fail(picks[name])
    return Campaign(labels=labels, failures=failures)


def _columns(pool: Pool | None) -> dict[str, dict[str, str]]:
    """Give the other columns of a pool by canonical SMILES."""
    if pool is None or not pool.columns:
        return {}
    names = [canonical(smiles) for smiles in pool.smiles]
    return {column: dict(zip(names, texts, strict=True)) for column, texts in pool.columns.items()}


def _read(place: int, text: str) -> str:
    try:
        return canonical(text)
    except DataError as error:
        raise DataError(f"Molecule {place} of the request: {error.what}", hint=error.hint) from error


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _execute(task: tuple[Labeller, str]) -> Record:
    labeller, name = task
    try:
        return {"label": labeller.label(name).to_json()}
    except SimulationError as error:
        return {"failed": error.what}


def _died(error: BaseException) -> Record | None:
    return {"failed": f"its worker process died: {error.what}"} if isinstance(error, WorkerDiedError) else None
