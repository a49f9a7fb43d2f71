"""Reports made by hand, whose numbers can be checked on paper."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import pytest

from modicum.core.method import Metric, Role
from modicum.core.report import ArmResult, Difference, Environment, Report, Verdict

MACHINE = Environment(
    modicum="0.1.0",
    python="3.11.9",
    torch="2.13.0",
    numpy="2.4.6",
    platform="Linux",
    processor="a processor",
    cores=2,
    device="cpu",
    commit="abc1234",
    command="modicum compare nsgd --seeds 1",
    created="2026-11-24T22:00:00+00:00",
)


def arm(
    name: str,
    role: Role,
    values: tuple[float, ...],
    *,
    seconds: float = 2.0,
    costs: Mapping[str, float] | None = None,
    secondary: Mapping[str, float] | None = None,
) -> ArmResult:
    return ArmResult(
        name=name,
        role=role,
        summary=f"What {name} does.",
        values=values,
        mean=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        seconds=seconds,
        memory=512.0,
        secondary=secondary or {},
        costs=costs or {},
    )


def difference(one: ArmResult, other: ArmResult, verdict: Verdict, *, sign: int = 1) -> Difference:
    values = tuple(sign * (a - b) for a, b in zip(one.values, other.values, strict=True))
    mean = statistics.fmean(values)
    single = len(values) == 1
    return Difference(
        arm=one.name,
        versus=other.name,
        values=values,
        mean=mean,
        median=statistics.median(values),
        low=None if single else mean - 0.01,
        high=None if single else mean + 0.02,
        p_value=None if single else 0.0125,
        adjusted=None if single else 0.0625,
        verdict=verdict,
    )


@pytest.fixture(scope="session")
def small() -> Report:
    """Two arms on one seed; higher is better."""
    base = arm("tuned SGD", "baseline", (80.0,), seconds=0.42)
    ours = arm("NSGD", "method", (81.5,), seconds=0.63)
    return Report(
        method="nsgd",
        title="NSGD, steps that set themselves",
        question="Does NSGD need no tuning?",
        metric=Metric(name="test accuracy", unit="%", digits=1),
        secondary=(),
        costs=(),
        budget="demo",
        data="digits",
        options={},
        seeds=(0,),
        planned=1,
        arms=(base, ours),
        differences=(difference(ours, base, "too few seeds"),),
        verdicts=("NSGD has one seed, which is too few.",),
        sources=("Doe 2023, arXiv:2212.09921.",),
        environment=MACHINE,
    )


@pytest.fixture(scope="session")
def large() -> Report:
    """Seven arms on five seeds; lower is better, with a secondary metric and two own costs."""
    base = arm(
        "plain fine-tuning",
        "baseline",
        (0.50, 0.52, 0.48, 0.51, 0.49),
        costs={"labels": 1000.0, "bits": 32.0},
        secondary={"calibration error": 0.091},
    )
    ours = arm(
        "HyPe",
        "method",
        (0.40, 0.43, 0.37, 0.42, 0.38),
        seconds=185.0,
        costs={"labels": 200.0, "bits": 32.0},
        secondary={"calibration error": 0.082},
    )
    second = arm(
        "HyPe with the constants of the paper", "method", (0.50, 0.52, 0.48, 0.51, 0.49), costs={"labels": 200.0}
    )
    controls = tuple(
        arm(
            f"control number {number} of the sceptic",
            "control",
            tuple(0.5 + 0.01 * number + 0.01 * seed for seed in range(5)),
        )
        for number in range(1, 5)
    )
    arms = (base, ours, second, *controls)
    return Report(
        method="hype",
        title="HyPe, perturbed hidden layers",
        question="Does HyPe reach a lower loss on 200 labels?",
        metric=Metric(name="validation loss", higher_is_better=False),
        secondary=(Metric(name="calibration error", higher_is_better=False),),
        costs=(Metric(name="labels", higher_is_better=False, digits=0), Metric(name="bits", digits=0)),
        budget="full",
        data="a hundred sentences",
        options={"model": "bert", "learning_rate": "2e-5"},
        seeds=(3, 5, 8, 13, 21),
        planned=5,
        arms=arms,
        differences=(
            difference(ours, base, "better", sign=-1),
            difference(second, base, "no difference shown", sign=-1),
            *(difference(control, base, "worse", sign=-1) for control in controls),
            *(difference(ours, control, "better", sign=-1) for control in controls),
        ),
        verdicts=("HyPe is better than plain fine-tuning.", "The constants of the paper show no difference."),
        sources=("Doe 2022, doi:10.1234/abc.def", "Code, https://example.org/hype?a=1&b=2."),
        environment=MACHINE,
    )


HOSTILE = (
    "<script>alert('x')</script> & <b>",
    "a | b `c` *d* $e$ [f](g) \\ _h_",
    "تعلم أكثر من أقل",
    "第一" * 30,
    "[red]a name far longer than any column, with anunbreakablewordinitthatgoesonandonandonandonandon[/red]",
)


@pytest.fixture(scope="session")
def hostile() -> Report:
    """Names that HTML, Markdown, rich and matplotlib would read as instructions, or cannot write."""
    arms = tuple(
        arm(name, "baseline" if number == 0 else "method" if number == 1 else "control", (0.1 * number, 0.2 * number))
        for number, name in enumerate(HOSTILE)
    )
    return Report(
        method='"><script>',
        title=HOSTILE[0],
        question=f"Is {HOSTILE[1]} {HOSTILE[4]}?",
        metric=Metric(name=HOSTILE[1], unit="</style>"),
        secondary=(),
        costs=(),
        budget="demo",
        data="{{ 7 * 7 }} {% raw %}",
        options={HOSTILE[1]: HOSTILE[0]},
        seeds=(0, 1),
        planned=2,
        arms=arms,
        differences=tuple(difference(each, arms[0], "no difference shown") for each in arms[1:]),
        verdicts=(f"{HOSTILE[1]} shows no difference.",),
        sources=("<a href='javascript:alert(1)'>paper</a>", 'https://example.org/"onclick="x'),
        environment=MACHINE,
    )


@pytest.fixture(scope="session", params=["small", "large", "hostile"])
def report(request: pytest.FixtureRequest) -> Report:
    """Each of the three in turn."""
    return request.getfixturevalue(request.param)
