"""A browser, started once, and the pages that it opens."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from modicum.core.method import Metric, Role
from modicum.core.report import ArmResult, Difference, Environment, Report, Verdict, write

ARMS: tuple[tuple[str, Role], ...] = (
    ("plain fine-tuning (AdamW, tuned)", "baseline"),
    ("the method with our own constants", "method"),
    ("the method with the paper's numbers", "method"),
    ("the method without its schedule", "method"),
    ("the method on half of the seeds", "method"),
    ("same number of updates and no more", "control"),
    ("shuffled labels", "control"),
    ("dropout off", "control"),
    ("copy the input", "control"),
    ("anunbreakablenameofthirtyfiveletters", "control"),
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


def _arm(place: int) -> ArmResult:
    name, role = ARMS[place]
    mean = 80.0 + place % 4
    return ArmResult(
        name=name,
        role=role,
        summary=f"What {name} does.",
        values=(mean - 1, mean, mean + 1),
        mean=mean,
        std=1.0,
        seconds=1.0 + 40 * (place % 3),
        memory=300.0 + place,
        secondary={"expected calibration error": 0.05},
        costs={"labels": 1000.0 - 90 * place},
        secondary_values={"expected calibration error": (0.05, 0.04, 0.06 + 0.001 * place)},
        diverged=place % 2,
    )


def _difference(place: int) -> Difference:
    mean, verdicts = float(place % 4), get_args(Verdict)
    return Difference(
        arm=ARMS[place][0],
        versus=ARMS[0][0],
        values=(mean, mean, mean),
        mean=mean,
        median=mean,
        low=mean - 1,
        high=mean + 1,
        p_value=0.05,
        adjusted=0.25,
        verdict=verdicts[(place - 1) % len(verdicts)],
    )


def _report(method: str) -> Report:
    """Ten arms with long names, and every verdict at least once."""
    return Report(
        method=method,
        title=f"{method}, a method with a title of some length",
        question="Does the method reach a better accuracy than plain fine-tuning when only 200 examples are labelled, "
        f"as in {'averyveryverylongwordthatnobodycanbreak' * 3}?",
        metric=Metric(name="test accuracy", unit="%", digits=1),
        secondary=(Metric(name="expected calibration error", higher_is_better=False),),
        costs=(Metric(name="labels", higher_is_better=False, digits=0),),
        budget="demo",
        data="handwritten digits",
        options={"learning_rate": "2e-5"},
        seeds=(0, 1, 2),
        arms=tuple(map(_arm, range(len(ARMS)))),
        differences=tuple(map(_difference, range(1, len(ARMS)))),
        verdicts=tuple(f"What was found about {name}." for name, role in ARMS if role == "method"),
        sources=("Doe 2022, arXiv:2212.09921.",),
        environment=Environment(
            modicum="0.1.0",
            python="3.11.9",
            torch="2.13.0",
            numpy="2.4.6",
            platform="Linux-6.8.0-x86_64-with-a-long-name-of-the-platform",
            processor="a processor",
            cores=2,
            device="cpu",
            commit="abc1234",
            command=f"modicum compare {method} --budget demo --seeds 3 --option learning_rate=2e-5 --out runs/demo",
            created="2026-11-24T22:00:00+00:00",
        ),
        planned=2,
    )


@pytest.fixture(scope="session")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page on three methods, on disk."""
    return write([_report(method) for method in ("nsgd", "hype", "rapq")], tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Chrome]:
    """Chromium without a window, with a fresh profile and a log of its network."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        started = Chrome(options=options, service=Service(driver))
        try:
            yield started
        finally:
            started.quit()
