"""What a comparison found, as plain data that any of the renderers can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modicum.core.method import Budget, Metric, Role
from modicum.errors import DataError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["ArmResult", "Difference", "Environment", "Report", "Verdict", "dump", "load"]

SCHEMA: Literal[1] = 1
Verdict = Literal["better", "worse", "no difference shown", "too few seeds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmResult:
    """One arm over all seeds.

    Args:
        values: the primary metric, one a seed, in the order of ``Report.seeds``.
        mean: of ``values``.
        deviation: sample standard deviation of ``values``; None for a single seed.
        seconds: median wall seconds a job.
        memory: largest resident memory of a worker during a job of this arm, in MiB.
        beside: means of the secondary metrics, by name.
        costs: means of the method's own costs, by name.
    """

    name: str
    role: Role
    summary: str
    values: tuple[float, ...]
    mean: float
    deviation: float | None
    seconds: float
    memory: float
    beside: Mapping[str, float]
    costs: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One arm against another on the same seeds; positive means that ``arm`` is better.

    Args:
        arm: the arm that is judged.
        versus: the arm that it is paired with.
        values: one difference a seed, signed so that positive is better.
        mean: of ``values``.
        low: lower end of the 95 % bootstrap interval of the mean; None for a single seed.
        high: upper end.
        p_value: two-sided, from sign flips of the pairs; None for a single seed.
        verdict: in the reader's words.
    """

    arm: str
    versus: str
    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """The machine and the software that made a report."""

    modicum: str
    python: str
    torch: str
    numpy: str
    platform: str
    processor: str
    cores: int
    device: str
    commit: str | None
    command: str
    created: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The answer to one comparison.

    Args:
        method: short name.
        title: the method's full name.
        question: that was asked.
        metric: the primary metric.
        beside: the secondary metrics.
        costs: the method's own costs.
        budget: "demo" or "full".
        data: what was read.
        options: settings of the comparison, all of them.
        seeds: the same for all arms.
        arms: baseline first, then methods, then controls.
        differences: every other arm against the baseline, then each method arm against each control.
        verdicts: one sentence for each method arm.
        sources: as printed.
        environment: the machine and the software.
    """

    method: str
    title: str
    question: str
    metric: Metric
    beside: tuple[Metric, ...]
    costs: tuple[Metric, ...]
    budget: Budget
    data: str
    options: Mapping[str, str]
    seeds: tuple[int, ...]
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]
    verdicts: tuple[str, ...]
    sources: tuple[str, ...]
    environment: Environment

    @property
    def baseline(self) -> ArmResult:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.role == "baseline")

    def against(self, name: str) -> tuple[Difference, ...]:
        """Give the differences of all arms that were paired with the arm ``name``."""
        return tuple(difference for difference in self.differences if difference.versus == name)


def dump(reports: Sequence[Report]) -> str:
    """Write reports as JSON text; `load` reads it back to equal reports."""
    return _file_format().dump_json(_File(schema_version=SCHEMA, reports=tuple(reports)), indent=2).decode() + "\n"


def load(path: Path) -> tuple[Report, ...]:
    """Read the reports that `dump` wrote to a file.

    Raises:
        DataError: if the file is missing, is no JSON, or is not a report of this version.
    """
    try:
        return _file_format().validate_json(path.read_bytes()).reports
    except FileNotFoundError as error:
        raise DataError(
            f"There is no report at {path}.", hint="Run modicum compare METHOD --out with that folder first."
        ) from error
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path} is not a report of this version of modicum ({reason}).",
            hint="Run modicum compare again with the same --out; finished jobs are not repeated.",
        ) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    schema_version: Literal[1]
    reports: tuple[Report, ...]


@cache
def _file_format() -> TypeAdapter[_File]:
    from pydantic import TypeAdapter

    return TypeAdapter(_File)
