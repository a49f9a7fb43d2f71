"""Methods declare, the core runs: the frozen descriptions of a method and of its comparison."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, cast, get_args

from modicum.core.settings import change
from modicum.errors import ConfigError

__all__ = ["Arm", "Budget", "Comparison", "Job", "Measurement", "Method", "Metric", "Role", "Source"]

Role = Literal["baseline", "method", "control"]
Budget = Literal["demo", "full"]

MOST_DIGITS = 20  # a float has 17
LARGEST = 1e300  # what is larger overflows when it is subtracted or drawn

# What XML, a terminal or UTF-8 cannot take: control characters but tab and line breaks, surrogates, two non-characters.
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a method, a number or a data set comes from.

    Args:
        authors: as cited, "Atici, Pan and Cetin".
        year: of the version meant.
        title: of the paper, the code or the data.
        address: a public address or identifier ("arXiv:2212.09921").
    """

    authors: str
    year: int
    title: str
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A number that is measured, and which way is better.

    Args:
        name: in words, "test accuracy".
        higher_is_better: the direction in which a difference counts as a gain.
        unit: "%" , "s", "labels"; empty for a pure number.
        digits: decimals that a table shows, 0 to 20.
        margin: a difference smaller than this does not matter: two arms whose interval lies within it are equivalent.
            None if every difference matters.

    Raises:
        ConfigError: if the name is empty, the digits are no such number, or the margin is not positive.
    """

    name: str
    higher_is_better: bool = True
    unit: str = ""
    digits: int = 3
    margin: float | None = None

    def __post_init__(self) -> None:
        _check_name("The name of a metric", self.name)
        if self.margin is not None and not 0 < self.margin <= LARGEST:
            raise ConfigError(
                f"The margin of {self.name} is {self.margin!r}.",
                hint="Give the largest difference that does not matter, such as margin=0.01, or None.",
            )
        if self.digits not in range(MOST_DIGITS + 1):
            raise ConfigError(
                f"{self.name} is shown with 0 to {MOST_DIGITS} digits, not {self.digits!r}.", hint="Use digits=3."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What an arm is passed: everything that determines its result.

    Args:
        seed: the same for all arms of a pair.
        budget: "demo" (a minute or a few in all, no network) or "full" (the published data sets).
        device: a torch device, "cpu" or "cuda".
        data: the user's own file or folder in place of the budget's data; None for the latter.
        settings: the comparison's own, an instance of the dataclass that it declares; None if it declares none.
    """

    seed: int
    budget: Budget
    device: str = "cpu"
    data: Path | None = None
    settings: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What an arm gives back.

    Args:
        value: the primary metric. A run that diverged has a score too (chance, for an accuracy): never NaN.
        secondary: secondary metrics, by name.
        costs: the method's own costs (labels, bits, parameters, network calls), by name.
        diverged: whether the run diverged; the report counts such runs beside the mean.
        items: score of each item that any seed tests, in one order for all seeds and arms, and NaN for those that
            this seed does not test; their mean is the value. The interval then speaks of other items, too.

    Raises:
        ConfigError: if a number is not finite, or the mean of the items is not the value.
    """

    value: float
    secondary: Mapping[str, float] = field(default_factory=dict[str, float])
    costs: Mapping[str, float] = field(default_factory=dict[str, float])
    diverged: bool = False
    items: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name, number in {"value": self.value, **self.secondary, **self.costs}.items():
            try:
                finite = abs(number) <= LARGEST
            except TypeError as error:
                message = f"{name} of a measurement must be a number, got {number!r}."
                raise ConfigError(message, hint="Give a float.") from error
            if not finite:
                raise ConfigError(
                    f"A measurement must be finite, but {name} is {number}.",
                    hint="Give a run that diverged the score that it deserves, such as chance.",
                )
        tested = [item for item in self.items if not math.isnan(item)]
        mean = fmean(tested) if tested else math.nan
        if len(self.items) and not math.isclose(mean, self.value, rel_tol=1e-6, abs_tol=1e-9):
            raise ConfigError(
                f"The mean of the {len(tested)} items is {mean}, and the value is {self.value}.",
                hint="Weight the scores of the items so that their mean is the value, or leave them out.",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One way to do the job.

    Args:
        name: short, unique in its comparison.
        role: "baseline" (one a comparison), "method", or "control" (what would explain the gain away).
        run: a function at the top level of a module, which workers import by name, of the job, and of what the setup
            of the comparison gave if it has one. Its result depends on these alone.
        summary: one sentence for the report.

    Raises:
        ConfigError: if one of them is something else.
    """

    name: str
    role: Role
    run: Callable[..., Measurement]
    summary: str = ""

    def __post_init__(self) -> None:
        _check_name("The name of an arm", self.name)
        if self.role not in get_args(Role):
            raise ConfigError(
                f"The arm {self.name} has the unknown role {self.role!r}.", hint="Use baseline, method or control."
            )
        if not callable(self.run):
            raise ConfigError(
                f"The arm {self.name} runs {self.run!r}, which is no function.",
                hint="Give it a function from a Job to a Measurement.",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A question, one primary metric, and the arms that answer it.

    Args:
        method: short name, as in ``modicum compare NAME``.
        question: one sentence that ends with a question mark.
        metric: the primary metric; differences and verdicts are of this one alone.
        arms: exactly one baseline, at least one method, and the controls.
        secondary: secondary metrics, shown and never judged.
        costs: the method's own costs.
        settings: what a user may change: the defaults, as an instance of a frozen dataclass at the top level of a
            module, or one for each budget. Its fields are annotated with `Help` and bounds of annotated-types or
            pydantic.
        setup: makes of a job what all arms of its seed share (a split, a trained network): a function at the top level
            of a module, called once a seed in each process that runs arms of it, and not at all for a seed whose jobs
            are finished. Arms leave it as they get it. The seconds of an arm are without those of the setup.
        variant: gives the comparison that settings ask for where they change its arms, another one with the same
            settings; None where they do not.
        data: what each budget reads, in words or by catalogue name.
        own_data: what ``--data`` takes, as one sentence; empty if the comparison has no such thing.

    Raises:
        ConfigError: if the arms are not a comparison.
    """

    method: str
    question: str
    metric: Metric
    arms: tuple[Arm, ...]
    secondary: tuple[Metric, ...] = ()
    costs: tuple[Metric, ...] = ()
    settings: object = None
    setup: Callable[[Job], Any] | None = None
    variant: Callable[[Any], Comparison | None] | None = None
    data: Mapping[Budget, str] = field(default_factory=dict[Budget, str])
    own_data: str = ""

    def __post_init__(self) -> None:
        _check_name("The short name of a comparison", self.method)
        if not isinstance(self.metric, Metric):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"The metric of {self.method} is {self.metric!r}, not a Metric.",
                hint="Write metric=Metric(name='accuracy').",
            )
        for name, kind in (("arms", Arm), ("secondary", Metric), ("costs", Metric)):
            _check_tuple(f"{name} of {self.method}", getattr(self, name), kind)
        for named in (self.arms, self.secondary, self.costs):
            names = Counter(each.name for each in named)
            if repeated := [name for name, count in names.items() if count > 1]:
                kind = type(named[0]).__name__.lower()
                raise ConfigError(
                    f"Two {kind}s of {self.method} have the name {repeated[0]!r}.",
                    hint=f"Give each {kind} its own name.",
                )
        for settings in _by_budget(self.settings).values():
            if settings is not None and (isinstance(settings, type) or not is_dataclass(settings)):
                raise ConfigError(
                    f"The settings of {self.method} are {settings!r}, not an instance of a dataclass.",
                    hint="Write settings=Settings(), or one for each budget: {'demo': Settings(), 'full': ...}.",
                )
        roles = Counter(arm.role for arm in self.arms)
        if roles["baseline"] != 1 or not roles["method"]:
            raise ConfigError(
                f"A comparison needs one baseline and at least one method, but {self.method} has "
                f"{roles['baseline']} and {roles['method']}.",
                hint="Give each arm its role: baseline, method or control.",
            )

    def settings_for(self, budget: Budget, options: Mapping[str, object] | None = None) -> Any:
        """Give the settings of a budget with those that a user changes.

        Args:
            budget: "demo" or "full".
            options: by name, as values or as text.

        Returns:
            An instance of the dataclass that the comparison declares; None if it declares none.

        Raises:
            ConfigError: if there is no such setting, or it cannot have the value.
        """
        return change(_by_budget(self.settings)[budget], options or {}, owner=f"The comparison {self.method}")

    @property
    def baseline(self) -> Arm:
        """The arm that the others are compared with."""
        return next(arm for arm in self.arms if arm.role == "baseline")


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """All that the core reads of a method.

    Args:
        name: short name, as in ``modicum compare NAME``.
        title: the method's full name.
        saves: what one needs less of, in a few words.
        sources: the papers and codes that it follows.
        comparison: its question and arms.
    """

    name: str
    title: str
    saves: str
    sources: tuple[Source, ...]
    comparison: Comparison


def _by_budget(settings: object) -> Mapping[Budget, Any]:
    # A budget that a mapping lacks has none, and then options are refused.
    budgets: tuple[Budget, ...] = get_args(Budget)
    if isinstance(settings, Mapping):
        given = cast("Mapping[Budget, Any]", settings)
        return {budget: given.get(budget) for budget in budgets}
    return dict.fromkeys(budgets, settings)


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not name.strip() or UNWRITABLE.search(name):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigError(f"{what} must be a text that can be printed, got {name!r}.", hint="Give it a short name.")


def _check_tuple(what: str, values: object, kind: type) -> None:
    if not isinstance(values, tuple):
        raise ConfigError(
            f"The {what} must be a tuple, not {type(values).__name__}.",
            hint="Write round brackets: (one, two) or (one,).",
        )
    for value in values:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(value, kind):
            raise ConfigError(f"The {what} include {value!r}.", hint=f"Make each of them a {kind.__name__}(...).")
