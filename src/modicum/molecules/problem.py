"""What the arms of the comparison share: which molecules may be labelled, and which are predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self, TypeAlias, cast

import numpy as np

from modicum.core.method import Job
from modicum.core.options import one_of, whole
from modicum.core.splits import shuffled
from modicum.errors import ConfigError
from modicum.molecules.experiment import experimental_labels
from modicum.molecules.pool import Pool
from modicum.molecules.published import published_labels
from modicum.molecules.scores import apart
from modicum.molecules.table import PROPERTIES, PropertyTable, Quantity, read_table

Rule: TypeAlias = Literal["active", "random", "per size"]
Predictor: TypeAlias = Literal["gp", "dmpnn"]
Test: TypeAlias = Literal["simulation", "experiment"]

_SMALLEST, _LARGEST = 4, 9
_PUBLISHED_DRAWS = (0, 1, 2)
_FEWEST = 12  # molecules of which a third can be held out


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The settings of a job, the same for all arms."""

    quantity: str  # that is predicted; with data of the user any column of them
    labels: int  # molecules that get labels; 0 in the full budget, where the published sets say it
    predictor: Predictor  # "gp" or "dmpnn"
    epochs: int  # of the network
    test: Test  # "simulation" or "experiment"

    @classmethod
    def of(cls, job: Job) -> Self:
        """Read the options of a job."""
        options = job.options
        plan = cls(
            quantity=options["quantity"] if job.data else one_of("quantity", options["quantity"], tuple(PROPERTIES)),
            labels=whole("labels", options["labels"]),
            predictor=cast("Literal['gp', 'dmpnn']", one_of("predictor", options["predictor"], ("gp", "dmpnn"))),
            epochs=whole("epochs", options["epochs"]),
            test=cast(
                "Literal['simulation', 'experiment']", one_of("test", options["test"], ("simulation", "experiment"))
            ),
        )
        published = job.budget == "full" and job.data is None
        if published and (plan.labels or job.seed not in _PUBLISHED_DRAWS):
            raise ConfigError(
                f"There are three published sets of about 310 molecules for each rule, not seed {job.seed} with "
                f"{plan.labels or 'as many'} labels.",
                hint="Use --seeds 0,1,2 and leave labels out, or give labels of your own with --data.",
            )
        if published and plan.quantity == "cp" and plan.test == "simulation":
            raise ConfigError(
                "The published test set has no heat capacities.",
                hint="Use density or hvap, or --option test=experiment.",
            )
        if not published and (plan.labels < 3 or (plan.test != "experiment" and not job.data)):
            raise ConfigError(
                f"The demo labels at least 3 molecules by experiment, got {plan.labels} by {plan.test}.",
                hint="Give --option labels=15, or --budget full for simulations.",
            )
        return plan


def candidates_and_test(job: Job, plan: Plan) -> tuple[PropertyTable, PropertyTable]:
    """Split labelled molecules into those that may be picked and a third that is predicted."""
    if job.data is None:
        labels = experimental_labels(plan.quantity)
        sizes = Pool.of(labels.molecules).sizes
        within = (sizes >= _SMALLEST) & (sizes <= _LARGEST)
        labels = labels.of(frozenset(np.array(labels.molecules)[within].tolist()))
    else:
        labels = read_table(job.data, plan.quantity)
    molecules = labels.molecules
    count = len(molecules)
    if count < _FEWEST or plan.labels > count - count // 3:
        raise ConfigError(
            f"A third of {count} molecules is held out, which leaves {count - count // 3} to label, not {plan.labels}.",
            hint=f"Give at least {_FEWEST} molecules, and fewer with --option labels=NUMBER.",
        )
    test = frozenset(molecules[place] for place in shuffled(count, job.seed, "split", count=count // 3).tolist())
    return labels.of(frozenset(molecules) - test), labels.of(test)


def published_sets(seed: int, plan: Plan) -> tuple[dict[Rule, PropertyTable], PropertyTable]:
    """Read the published labels that each rule has for training, and those that all of them are judged on."""
    names = (f"0.5_{seed}", f"0.5_random{seed}", f"0.5_nheavy{seed}")
    active, random, per_size = (published_labels(name, cast("Quantity", plan.quantity)) for name in names)
    training: dict[Rule, PropertyTable] = {"active": active, "random": random, "per size": per_size}
    if plan.test == "experiment":
        return training, experimental_labels(plan.quantity)
    return training, apart(published_labels("test", cast("Quantity", plan.quantity)), *training.values())
