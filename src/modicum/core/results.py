"""What a comparison found, as plain data that `modicum.core.report` shows and a file keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modicum.core.method import LARGEST, UNWRITABLE, Budget, Metric, Role
from modicum.errors import DataError

if TYPE_CHECKING:
    from pydantic import TypeAdapter


_AGAIN = "Run modicum compare again with the same --out; finished jobs are not repeated."
_OTHER_VERSION = "Read it with the modicum that wrote it, or run modicum compare again with a new --out."
Verdict = Literal["better", "worse", "equivalent", "no difference shown", "too few seeds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmResult:
    """One arm over all seeds."""

    name: str
    role: Role
    summary: str
    values: tuple[float, ...]  # the primary metric, one a seed, in the order of ``Report.seeds``
    mean: float  # of ``values``
    std: float | None  # sample standard deviation of ``values``; None for a single seed
    seconds: float  # median wall seconds a job
    memory: float  # largest resident memory of a worker during a job of this arm, in MiB
    secondary: Mapping[str, float]  # means of the secondary metrics, by name
    costs: Mapping[str, float]  # means of the method's own costs, by name
    secondary_values: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])  # by seed
    diverged: int = 0  # runs that diverged; their values are the scores that such runs deserve
    items: tuple[float, ...] = ()  # score of each item that any seed tests: the mean over those seeds


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One arm against another on the same seeds; positive means that ``arm`` is better."""

    arm: str  # the arm that is judged
    versus: str  # the arm that it is paired with
    values: tuple[float, ...]  # one difference a seed, signed so that positive is better
    mean: float  # of ``values``
    median: float  # of ``values``
    low: float | None  # lower end of the 95 % interval of the mean; None for a single seed
    high: float | None  # upper end
    p_value: float | None  # two-sided, of a mean of zero; None for a single seed
    adjusted: float | None  # ``p_value`` by Holm's method for all pairs of the report
    verdict: Verdict  # in the reader's words


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
        secondary: the secondary metrics.
        costs: the method's own costs.
        budget: "demo" or "full".
        data: what was read.
        options: settings of the comparison, all of them.
        seeds: the same for all arms.
        planned: how many of the seeds the first report on the same question in this folder had, too; the others were
            added after a look at it.
        left_out: how many other seeds have jobs of the same question in this folder.
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
    secondary: tuple[Metric, ...]
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
    planned: int
    left_out: int = 0

    def __str__(self) -> str:
        """Give the question, the table of the arms and the verdicts, as a terminal shows them."""
        from modicum.core.report.render import plain_table

        return plain_table(self)

    @property
    def baseline(self) -> ArmResult:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.role == "baseline")

    def against(self, name: str) -> tuple[Difference, ...]:
        """Give the differences of all arms that were paired with the arm ``name``."""
        return tuple(difference for difference in self.differences if difference.versus == name)


def dump(reports: Sequence[Report]) -> str:
    """Write reports as JSON text; `load` reads it back to equal reports."""
    return _file_format().dump_json(_File(schema_version=3, reports=tuple(reports)), indent=2).decode() + "\n"


def load(path: Path) -> tuple[Report, ...]:
    """Read the reports that `dump` wrote to a file.

    Raises:
        DataError: if the file is missing, is no JSON, is not a report of this version, or contradicts itself.
    """
    try:
        reports = _file_format().validate_json(path.read_bytes()).reports
    except FileNotFoundError as error:
        raise DataError(
            f"There is no report at {path}.", hint="Run modicum compare METHOD --out with that folder first."
        ) from error
    except (OSError, ValueError) as error:
        reason, hint = str(error).splitlines()[0], _AGAIN
        if found := getattr(error, "errors", None):  # pydantic's: where it is, and what is wrong there
            first = found()[0]
            reason = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
            hint = _OTHER_VERSION if first["loc"] == ("schema_version",) else hint
        raise DataError(f"{path} is not a report of this version of modicum ({reason}).", hint=hint) from error
    if not reports:
        raise DataError(f"{path} has no report.", hint=_AGAIN)
    for report in reports:
        if fault := next(_faults(report), None):
            raise DataError(f"{path} is damaged: in the report of {report.method!r}, {fault}.", hint=_AGAIN)
    return reports


def _faults(report: Report) -> Iterator[str]:
    # What the renderers rely on, so that they need not look again.
    for leaf in _leaves(asdict(report)):
        if isinstance(leaf, str) and UNWRITABLE.search(leaf):
            yield f"the text {leaf!r} has control characters"
        if isinstance(leaf, float) and not abs(leaf) <= LARGEST:
            yield f"{leaf} is no number to draw"
    yield from _wrong_counts(report)
    yield from _wrong_names(report)


def _wrong_counts(report: Report) -> Iterator[str]:
    roles = Counter(arm.role for arm in report.arms)
    if roles["baseline"] != 1:
        yield f"{roles['baseline']} arms are the baseline"
    if len(report.verdicts) != roles["method"]:
        yield f"there are {len(report.verdicts)} verdicts on {roles['method']} method arms"
    if not report.seeds:
        yield "there are no seeds"
    if not 0 <= report.planned <= len(report.seeds):
        yield f"{report.planned} seeds were planned and {len(report.seeds)} run"
    for each in (*report.arms, *report.differences):
        if len(each.values) != len(report.seeds):
            name = each.name if isinstance(each, ArmResult) else each.arm
            yield f"{name!r} has {len(each.values)} values for {len(report.seeds)} seeds"
    for arm in report.arms:
        for name, values in arm.secondary_values.items():
            if len(values) != len(report.seeds):
                yield f"{arm.name!r} has {len(values)} values for {len(report.seeds)} seeds of {name!r}"


def _wrong_names(report: Report) -> Iterator[str]:
    names = Counter(arm.name for arm in report.arms)
    yield from (f"{count} arms have the name {name!r}" for name, count in names.items() if count > 1)
    metrics, costs = ({metric.name for metric in each} for each in (report.secondary, report.costs))
    for arm in report.arms:
        yield from (f"{arm.name!r} has an undeclared metric {name!r}" for name in arm.secondary if name not in metrics)
        yield from (f"{arm.name!r} has an undeclared cost {name!r}" for name in arm.costs if name not in costs)
    pairs = {(difference.arm, difference.versus) for difference in report.differences}
    yield from (f"a difference names an unknown arm {name!r}" for pair in pairs for name in pair if name not in names)
    for arm in report.arms:
        if arm.role != "baseline" and (arm.name, report.baseline.name) not in pairs:
            yield f"{arm.name!r} is not compared with the baseline"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | tuple):
        parts: Any = value.items() if isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        for part in parts:
            yield from _leaves(part)
    else:
        yield value


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    schema_version: Literal[3]
    reports: tuple[Report, ...]


@cache
def _file_format() -> TypeAdapter[_File]:
    from pydantic import TypeAdapter

    return TypeAdapter(_File)
