from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import unit
from scipy import stats

from modicum.errors import ConfigError, SimulationError
from modicum.molecules.liquid import simulation
from modicum.molecules.liquid.simulation import FRICTION, INTERVAL, STEP, Device, Liquid, Series, fill_box
from modicum.molecules.liquid.trappe import BONDED, build_system, united_atoms

R = 8.314462618e-3  # kJ/mol/K


def test_the_step_keeps_the_temperature() -> None:  # GPRMGK-G14
    # A gas of 100 propanes: its kinetic energy is that of 700 degrees of freedom, its bending that of 100.
    molecule, temperature = united_atoms("CCC"), 300.0
    start = fill_box(molecule, 100, density=5.0, seed=0)
    system = build_system(molecule, 100, edge=start.edge)
    integrator = openmm.LangevinMiddleIntegrator(temperature, FRICTION, STEP)
    integrator.setRandomNumberSeed(7)
    context = Device().open(system, integrator)
    context.setPositions(start.positions.reshape(-1, 3))
    context.applyConstraints(1e-6)
    context.setVelocitiesToTemperature(temperature, 7)
    integrator.step(500)
    kinetic, bending = [], []
    for _ in range(30):
        integrator.step(round(2.0 / STEP))
        kinetic.append(context.getState(energy=True).getKineticEnergy() / unit.kilojoule_per_mole)
        state = context.getState(energy=True, groups=1 << BONDED)
        bending.append(state.getPotentialEnergy() / unit.kilojoule_per_mole)
    chance = stats.kstest(2 * np.array(kinetic) / (R * temperature), stats.chi2(700).cdf).pvalue
    assert chance > 1e-3  # the draws are fixed; a step that heats by 3 % gives less than 1e-3
    assert np.mean(bending) == pytest.approx(100 * R * temperature / 2, rel=0.08)  # 3000 draws: 2.6 %


def test_a_platform_that_is_not_there_is_named() -> None:
    system = openmm.System()
    system.addParticle(1.0)
    with pytest.raises(ConfigError, match=r"cannot use the platform 'Abacus' .*It has here: .*Reference"):
        Device(platform="Abacus").open(system, openmm.VerletIntegrator(0.001))


def test_a_box_that_goes_on_shrinking_is_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "COMPRESSION_LIMIT", 4.0)
    with pytest.raises(SimulationError, match=r"not converged: at 1500 bar and 300 K the box still shrinks after 4 ps"):
        Liquid(united_atoms("CCCC"), molecules=200, temperature=300.0, seed=0, device=Device())


def test_a_box_below_two_cutoffs_is_unstable() -> None:
    with pytest.raises(SimulationError, match=r"unstable: OpenMM stopped at 300 K .*cutoff"):
        Liquid(united_atoms("CCCC"), molecules=40, temperature=300.0, seed=0, device=Device())


@pytest.fixture(scope="module")
def methanes() -> list[tuple[Liquid, Series]]:
    """Two liquids of one seed, one after the other, each with its first 4 ps at 1 bar."""
    made: list[tuple[Liquid, Series]] = []
    for _ in range(2):
        liquid = Liquid(united_atoms("C"), molecules=450, temperature=110.0, seed=0, device=Device())
        made.append((liquid, liquid.settle(110.0, picoseconds=10 * INTERVAL)))
    return made


@pytest.mark.slow
def test_the_same_seed_gives_the_same_liquid(methanes: list[tuple[Liquid, Series]]) -> None:
    (_, first), (_, second) = methanes
    np.testing.assert_array_equal(first.density, second.density)
    np.testing.assert_array_equal(first.inter, second.inter)
    assert 400 < first.density[-1] < 520  # experiment 425 at 1 bar, on its way from 1500 bar


@pytest.mark.slow
def test_a_liquid_that_is_too_hot_evaporates(methanes: list[tuple[Liquid, Series]]) -> None:
    with pytest.raises(SimulationError, match=r"vaporized: at 600 K the density fell to \d+ kg/m3"):
        methanes[1][0].settle(600.0, picoseconds=150.0)
