from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rdkit.Chem import MolFromSmiles, MolToSmiles

from modicum.core.method import Budget, Job, Measurement
from modicum.core.seeding import derive
from modicum.errors import ConfigError, DataError
from modicum.molecules.comparison import METHOD, Rule, pick, setup
from modicum.molecules.data.pool import Pool
from modicum.molecules.data.published import experimental_labels
from modicum.molecules.data.table import PropertyTable, read_table, write_table
from modicum.molecules.predict.dmpnn import DMPNN
from modicum.molecules.predict.scores import mae_over_sizes, shared_molecules

ARMS = {arm.name: arm.run for arm in METHOD.comparison.arms}


def job(budget: Budget = "demo", *, seed: int = 0, data: Path | None = None, **options: str) -> Job:
    return Job(seed=seed, budget=budget, data=data, settings=METHOD.comparison.settings_for(budget, options))


def learn(given: Job) -> Measurement:
    return ARMS["active learning"](given, setup(given))


def test_a_third_of_the_molecules_is_held_out_by_the_seed() -> None:
    problem = setup(job())
    candidates, test = problem.candidates["active"], problem.test
    assert shared_molecules(candidates, test) == ()
    assert (len(candidates.molecules), len(test.molecules)) == (45, 22)
    assert setup(job(seed=1)).test.molecules != test.molecules


@pytest.mark.parametrize("rule", ["active", "random", "per size"])
def test_a_rule_picks_as_asked_and_looks_at_no_label(rule: Rule) -> None:
    candidates = setup(job()).candidates[rule]
    blind = PropertyTable(
        quantity=candidates.quantity,
        smiles=candidates.smiles,
        temperature=candidates.temperature,
        value=np.zeros(len(candidates)),
    )
    picked = pick(rule, candidates, 15, seed=0)
    assert len(picked.molecules) == 15
    assert picked.molecules == pick(rule, blind, 15, seed=0).molecules
    assert picked.molecules != pick(rule, candidates, 15, seed=1).molecules


def test_rows_of_a_users_table_stay_together(tmp_path: Path) -> None:
    labels = experimental_labels("hvap")
    both = PropertyTable(
        quantity="hvap",
        smiles=labels.smiles + labels.smiles,
        temperature=np.concatenate([labels.temperature, labels.temperature + 10]),
        value=np.concatenate([labels.value, labels.value - 1]),
    )
    write_table(tmp_path / "mine.csv", both)
    mine = job(data=tmp_path / "mine.csv", quantity="hvap", labels="40")
    problem = setup(mine)
    test = problem.test
    assert shared_molecules(problem.candidates["active"], test) == ()
    assert len(test) == 2 * len(test.molecules) == 2 * (149 // 3)
    result = ARMS["active learning"](mine, problem)
    assert result.secondary["R2 of rows"] > 0.5
    assert result.costs == {"labelled molecules": 40.0}


def test_a_molecule_that_a_users_table_spells_in_two_ways_is_one(tmp_path: Path) -> None:
    one = Pool.alkanes(5, 7).smiles
    other = tuple(MolToSmiles(MolFromSmiles(smiles), rootedAtAtom=1) for smiles in one)
    table = PropertyTable(
        quantity="density",
        smiles=one + other,
        temperature=np.repeat([300.0, 310.0], len(one)),
        value=np.linspace(600.0, 700.0, 2 * len(one)),
    )
    write_table(tmp_path / "mine.csv", table)
    problem = setup(job(data=tmp_path / "mine.csv", labels="6"))
    assert shared_molecules(problem.candidates["active"], problem.test) == ()
    assert len(problem.test) == 2 * (len(one) // 3)


@pytest.mark.data("alkanes")
def test_no_published_training_set_has_a_molecule_of_the_test() -> None:
    problem = setup(job("full"))
    sets, test = problem.candidates, problem.test
    assert {rule: len(table.molecules) for rule, table in sets.items()} == {
        "active": 313,
        "random": 313,
        "per size": 313,
    }
    for table in sets.values():
        assert shared_molecules(table, test) == ()
    # 2,988 less the random draw, which lies within them, and two of the draw by size.
    assert len(test.molecules) == 2673


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (job(quantity="colour"), "quantity must be one of density, hvap, cp, got 'colour'"),
        (job(labels="2"), "labels at least 3 molecules by experiment, got 2"),
        (job(test="simulation"), "got 15 by simulation"),
        (job("full", labels="50"), "three published sets"),
        (job("full", seed=3), "not seed 3"),
        (job("full", quantity="cp"), "no heat capacities"),
    ],
)
def test_an_option_without_meaning_is_told(wanted: Job, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        setup(wanted)


def test_too_few_molecules_or_a_missing_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="A third of 67 molecules is held out, which leaves 45 to label, not 60"):
        learn(job(labels="60"))
    with pytest.raises(DataError, match=r"nothing.csv cannot be read"):
        learn(job(data=tmp_path / "nothing.csv"))


def test_the_demo_is_judged_by_experiment_and_a_users_table_is_not(tmp_path: Path) -> None:
    demo = learn(job())
    assert demo.secondary["R2 by experiment"] == demo.secondary["R2 of rows"]
    assert demo.secondary["RMSE by experiment"] >= demo.secondary["mean absolute error of rows"]
    write_table(tmp_path / "mine.csv", experimental_labels("hvap"))
    mine = learn(job(data=tmp_path / "mine.csv", quantity="hvap", labels="40"))
    assert "R2 by experiment" not in mine.secondary
    hvap = read_table(tmp_path / "mine.csv", "hvap")
    write_table(tmp_path / "own.csv", PropertyTable(quantity="own", smiles=hvap.smiles, value=hvap.value))
    own = learn(job(data=tmp_path / "own.csv", quantity="own", labels="40"))
    # All at 298.15 K.
    assert own.secondary["R2 of rows"] == pytest.approx(mine.secondary["R2 of rows"], abs=0.05)


def test_scores_of_the_networks_of_a_draw_are_averaged() -> None:
    several = learn(job(networks="2", predictor="dmpnn", epochs="1", labels="3"))
    problem = setup(job())
    training, test = pick("active", problem.candidates["active"], 3, seed=0), problem.test
    errors: list[float] = []
    for network in range(2):
        fitted = DMPNN().fit(training, epochs=1, seed=derive(0, f"network {network}"))
        predicted = replace(test, value=fitted.predict(test.smiles, test.temperature))
        errors.append(mae_over_sizes(predicted, test))
    assert several.value == pytest.approx(sum(errors) / 2)
    assert several.secondary["spread over networks"] == pytest.approx(abs(errors[0] - errors[1]))
    assert errors[0] != errors[1]
    assert several.secondary["R2 of rows"] < 0  # worse than the mean label, and said so
    assert learn(job()).secondary["spread over networks"] == 0  # the Gaussian process is one
