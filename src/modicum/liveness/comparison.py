"""FGHV as the comparison sees it: what each arm makes of faces, before and after a few genuine ones of a new place."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np
import torch
from torch import Tensor

from modicum.core.method import Arm, Comparison, Job, Measurement, Method, Metric, Role, Source
from modicum.core.seeding import derive
from modicum.core.settings import refuse_idle
from modicum.errors import ConfigError
from modicum.liveness import functional as F  # noqa: N812
from modicum.liveness.configuration import COMPARISON, ComparisonSettings, FGHVConfig, Preset
from modicum.liveness.fit import (
    ALPHA,
    attainable,
    calibration_rows,
    fit,
    halves,
    logistic,
    mahalanobis,
    nearest_neighbours,
    updated,
)
from modicum.liveness.metrics import eer_threshold
from modicum.liveness.modeling import FGHVForLiveness
from modicum.liveness.problems import OWN_PHOTOS, Faces, Own, Problem, digits, domains, nuaa, toy

Scorer = Callable[[Faces], Tensor]  # higher is more genuine


@dataclass(frozen=True)
class Fitted:
    """What the arms of a seed share: the task and the two models, each fitted when the first arm asks for it."""

    problem: Problem
    settings: ComparisonSettings
    seed: int

    @cached_property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Rows that are fitted, and rows that calibrate."""
        known = self.problem
        learn, held = calibration_rows(known.labels.numpy(), known.groups, self.seed)
        return torch.as_tensor(learn), torch.as_tensor(held)

    @cached_property
    def modicum(self) -> FGHVForLiveness:
        """The preset of section 11."""
        return self._fit("modicum")

    @cached_property
    def paper(self) -> FGHVForLiveness:
        """The bare losses."""
        return self._fit("paper")

    def _fit(self, preset: Preset) -> FGHVForLiveness:
        known, settings = self.problem, self.settings
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The bare losses")
            return fit(
                FGHVConfig(preset, backbone="vector", input_size=known.faces.features.shape[1]),
                known.faces.features,
                known.labels,
                groups=known.groups,
                domains=known.domains,
                steps=settings.steps,
                batch=settings.batch,
                rate=settings.rate,
                seed=self.seed,
            )

    @cached_property
    def reference(self) -> Tensor:
        """Features of the genuine faces that were fitted, as the hypotheses of "modicum" see them."""
        learn = self.rows[0]
        return self.embed(self.problem.faces[learn[self.problem.labels[learn] == 1]])

    def embed(self, faces: Faces) -> Tensor:
        """Give the feature that the hypotheses are correlated with."""
        model = self.modicum  # which may be trained only here, with gradients
        with torch.no_grad():
            return model.embed(faces.features)


def setup(job: Job) -> Fitted:
    """Make or read the task."""
    settings: ComparisonSettings = job.settings
    if job.budget == "demo" and settings.task in {"nuaa", "mcio"}:
        raise ConfigError("The demo reads no photos.", hint="Add --budget full, or use task=digits or task=toy.")
    if job.data is not None and settings.task != "mcio":
        raise ConfigError(
            f"task={settings.task} reads no data of your own.",
            hint="Write --budget full --option task=mcio, and give a folder with a folder for each domain.",
        )
    if settings.task in {"digits", "toy"}:
        refuse_idle(settings, COMPARISON[job.budget], ["scale"], where=f"with task={settings.task}, which has no crops")
    make = {"digits": digits, "toy": toy, "nuaa": nuaa, "mcio": domains}[settings.task]
    return Fitted(make(job), settings, derive(job.seed, "fghv") % 2**31)


# What an arm makes of faces; the second argument, if it is there, are own genuine faces to learn from.
def _fghv(fitted: Fitted, own: Faces | None, *, preset: Preset) -> Scorer:
    model: FGHVForLiveness = getattr(fitted, preset)
    model = model if own is None else updated(model, own.features)
    return lambda faces: model.verify(faces.features).box


def _variance(fitted: Fitted, own: Faces | None) -> Scorer:
    model = fitted.modicum if own is None else updated(fitted.modicum, own.features)
    return lambda faces: -model.verify(faces.features).variance


def _relative(fitted: Fitted, _: Faces | None) -> Scorer:
    return lambda faces: fitted.paper(faces.features).scores.detach()


def _leverage(fitted: Fitted, own: Faces | None) -> Scorer:
    reference = fitted.reference if own is None else fitted.embed(own)
    return lambda faces: -F.leverage(fitted.embed(faces), reference)


def _neighbours(fitted: Fitted, own: Faces | None) -> Scorer:
    reference = fitted.reference if own is None else fitted.embed(own)
    return lambda faces: nearest_neighbours(reference, fitted.embed(faces))


def _mahalanobis(fitted: Fitted, own: Faces | None) -> Scorer:
    centre = None if own is None else fitted.embed(own)
    return lambda faces: mahalanobis(fitted.reference, fitted.embed(faces), centre)


def _head(fitted: Fitted, _: Faces | None, *, view: str = "features") -> Scorer:
    learn = fitted.rows[0]
    known: Tensor = getattr(fitted.problem.faces[learn], view)
    head = logistic(known.numpy(), fitted.problem.labels[learn].numpy())
    return lambda faces: torch.as_tensor(head.decision_function(getattr(faces, view).numpy()))


def _pretrained(_: Fitted, __: Faces | None) -> Scorer:
    return lambda faces: faces.margin


def run(_: Job, fitted: Fitted, *, make: Callable[..., Scorer]) -> Measurement:
    """Score the test sets by an arm."""
    problem = fitted.problem
    score = cache(make(fitted, None))  # test sets share genuine faces
    held = fitted.rows[1]
    # The pre-trained network has a threshold of its own; the others take that of equal errors on the source.
    known = problem.faces[held]
    source = score(known).numpy()
    threshold = 0.0 if make is _pretrained else eer_threshold(source, problem.labels[held].numpy())
    found = {name: (score(pair.genuine), score(pair.attack)) for name, pair in problem.tests.items()}
    aucs = {f"AUC {name}": _auc(*scores) for name, scores in found.items()}
    genuine, attack = found["known attacks"]
    refused, passed = float((genuine < threshold).float().mean()), float((attack >= threshold).float().mean())
    secondary = {**aucs, "HTER": (refused + passed) / 2, "BPCER": refused, "APCER": passed}
    if problem.own and isinstance(make, partial) and make.func is _fghv:
        secondary["spread"] = getattr(fitted, make.keywords["preset"]).spread
    for who, pair in problem.own.items():
        secondary |= _calibrated(fitted, make, who, pair)
    return Measurement(value=secondary.pop(f"AUC {problem.primary}"), secondary=secondary)


def _calibrated(fitted: Fitted, make: Callable[..., Scorer], who: str, own: Own) -> Mapping[str, float]:
    """Learn from half of the own photos where the arm can, set the threshold by the other half, and try it."""
    near, held = (torch.as_tensor(rows) for rows in halves(own.people, len(own.photos.features), fitted.seed))
    score = make(fitted, own.photos[near])
    calibration, level = score(own.photos[held]), attainable(ALPHA, len(held))
    scores = score(own.genuine), score(own.attack)
    refused, stopped = (
        float((F.conformal_p_values(each, calibration) <= level + 1e-9).float().mean()) for each in scores
    )
    return {f"BPCER by {who}": refused, f"APCER by {who}": 1 - stopped, f"AUC by {who}": _auc(*scores)}


def _auc(genuine: Tensor, attack: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    scores = torch.cat([genuine.double(), attack.double()]).numpy()
    return float(roc_auc_score(np.r_[np.ones(len(genuine)), np.zeros(len(attack))], scores))


def _arms(*rows: tuple[str, Role, Callable[..., Scorer], str]) -> tuple[Arm, ...]:
    return tuple(
        Arm(name=name, role=role, run=partial(run, make=make), summary=text) for name, role, make, text in rows
    )


_ARMS = _arms(
    ("logistic head", "baseline", _head, "logistic regression on the same features"),
    ("FGHV modicum", "method", partial(_fghv, preset="modicum"), "box of the score and the variance of hypotheses"),
    ("FGHV paper", "method", partial(_fghv, preset="paper"), "bare losses; box of variance and change of KL"),
    ("relative correlation", "control", _relative, "the score s of the bare losses alone, without verification"),
    ("variance alone", "control", _variance, "V of FGHV modicum without the score"),
    ("leverage", "control", _leverage, "the inverse second moment of the same feature: V without generators"),
    ("kNN", "control", _neighbours, "distance to the five nearest genuine faces, same feature"),
    ("Mahalanobis", "control", _mahalanobis, "distance to the mean of genuine faces, same feature"),
)
_FACES = _arms(
    ("pre-trained network", "control", _pretrained, "MiniFASNetV2-SE as it is, with its own threshold"),
    ("colour only", "control", partial(_head, view="colour"), "logistic regression on mean and std of each colour"),
)


def _less(*names: str) -> tuple[Metric, ...]:
    return tuple(Metric(name=name, higher_is_better=False) for name in names)


def _own(*names: str) -> tuple[Metric, ...]:
    return tuple(
        each
        for name in names
        for each in (*_less(f"BPCER by {name}", f"APCER by {name}"), Metric(name=f"AUC by {name}"))
    )


_ERRORS = _less("HTER", "BPCER", "APCER")
_COMPARISON = Comparison(
    method="fghv",
    question="Does the verification by hypotheses refuse attacks that nobody has seen?",
    metric=Metric(name="AUC unknown attacks"),
    arms=_ARMS,
    secondary=(Metric(name="AUC known attacks"), *_ERRORS),
    settings=COMPARISON,
    setup=setup,
    data={
        "demo": "scikit-learn digits: 0 to 4 are genuine, 5 and 6 known attacks, 7 to 9 unknown ones",
        "full": "nuaa-sample: 10 people in sessions 1 and 2 for training, others in session 3 for the test; replay, "
        "simulated from genuine frames, is the unknown attack",
    },
    own_data="A folder with a folder for each domain, of which each seed leaves another one out (with task=mcio).",
)
_TOY = replace(
    _COMPARISON,
    metric=Metric(name="AUC stealth attacks"),
    secondary=(
        *(Metric(name=f"AUC {kind} attacks") for kind in ("known", "unknown")),
        *(Metric(name=f"AUC {kind} attacks, new domain") for kind in ("known", "unknown", "stealth")),
        *_ERRORS,
        Metric(name="spread"),
        *_own("40 of new domain"),
    ),
    data=dict.fromkeys(
        ("demo", "full"), "drawn clusters in 32 dimensions; attacks lack or have the mark of real faces"
    ),
)
_NUAA = replace(
    _COMPARISON,
    arms=_ARMS + _FACES,
    secondary=(
        *(
            Metric(name=f"AUC {name}")
            for name in ("known attacks", "halftone", "null attack", "known attacks, other session")
        ),
        *(Metric(name=f"AUC known attacks, {part} hidden") for part in ("context", "face")),
        *_ERRORS,
        *_own(*(f"{count} of {who} people" for who in ("same", "other") for count in OWN_PHOTOS)),
        Metric(name="spread"),
    ),
)


def _asked(settings: ComparisonSettings) -> Comparison | None:
    return {"toy": _TOY, "nuaa": _NUAA, "mcio": _NUAA}.get(settings.task)


_COMPARISON = replace(_COMPARISON, variant=_asked)

METHOD = Method(
    name="fghv",
    title="FGHV: face anti-spoofing by generated hypotheses, and what it does not know",
    saves="examples of attacks",
    sources=(
        Source(
            authors="Liu, Lu, Xu, Yang, Ding and Ma",
            year=2022,
            title="Feature Generation and Hypothesis Verification for Reliable Face Anti-Spoofing",
            address="https://arxiv.org/abs/2112.14894",
        ),
        Source(
            authors="Liu",
            year=2022,
            title="Figures of FGHV, commit 1ea50f4 (no code was released)",
            address="https://github.com/lustoo/FGHV",
        ),
    ),
    comparison=_COMPARISON,
)
