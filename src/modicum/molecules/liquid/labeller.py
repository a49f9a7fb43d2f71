"""Labels from molecular dynamics of the liquid: density and enthalpy of vaporisation, and heat capacity with help."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modicum.core.extras import require
from modicum.errors import ConfigError, SimulationError
from modicum.molecules.data.labels import Label
from modicum.molecules.data.smiles import canonical
from modicum.molecules.data.table import check_temperatures
from modicum.molecules.liquid.points import FEWEST_POINTS, Point, check_enough, converge, judge, plain, smooth
from modicum.molecules.liquid.simulation import INTERVAL, STEP, Device, Liquid, edge_of
from modicum.molecules.liquid.trappe import CUTOFF, UnitedAtoms, united_atoms

POINTS = 16
LEAST_SPACING = 5.0  # K


def temperature_grid(critical: float) -> tuple[float, ...]:
    """Give the temperatures between 0.4 and 0.9 of the critical one."""
    low, high = int(0.4 * critical), int(0.9 * critical)
    points = min(POINTS, int((high - low) / LEAST_SPACING) + 1)
    return tuple(float(temperature) for temperature in np.linspace(low, high, points))


def critical_temperature(smiles: str) -> float:
    """Look the critical temperature of an alkane up in the package ``chemicals``."""
    # Of a molecule that it does not know, that of the unbranched alkane of the same size is given. Branching changes it
    # by a few per cent, which moves the grid and nothing else. The official code predicts it with a neural network.
    chemicals: Any = require("chemicals", extra="molecules", purpose="Looking up critical temperatures")
    written = canonical(smiles)
    known = _look_up(chemicals, written) or _look_up(chemicals, "C" * written.count("C"))
    if known is None:
        raise SimulationError(
            f"no temperatures: the critical temperature of {smiles} is not in the package chemicals.",
            hint="Give it as critical_temperature, or give temperatures.",
        )
    return known


def _look_up(chemicals: Any, smiles: str) -> float | None:
    try:
        number = chemicals.CAS_from_any(f"SMILES={smiles}")
    except ValueError:  # how the package says that it does not know a molecule
        return None
    return chemicals.critical.Tc(number)


DENSEST = 850.0  # kg/m3, of an alkane under 1500 bar: the box must be wider than two cut-offs then
PROTOCOL = 1  # raise it when the simulation itself changes, so that a journal repeats it


class OpenMMLabeller:
    """Simulates the liquid of an alkane with OpenMM and TraPPE-UA.

    A dilute box is compressed at 1500 bar and the highest temperature. From there each temperature is equilibrated and
    sampled at 1 bar, until the halves of the sample agree. A temperature at which the box evaporates, freezes or does
    not settle is left out, with its reason. With 5 temperatures or more the values are those of a quadratic in
    temperature, as in the published tables; with fewer they are plain means.

    Three limits. Superheated points (above the boiling point, at 1 bar) are metastable and may evaporate. The
    enthalpy of vaporisation takes the vapour as ideal and its molecules in the shapes of the liquid. United
    atoms and rigid bonds have no fast vibrations, so a heat capacity is given only with ``intramolecular``, and never
    from the fluctuations of the energy.

    Args:
        temperatures: K; by default 16 between 0.4 and 0.9 of the critical temperature.
        critical_temperature: K by SMILES, for the default temperatures; that of a molecule that is not in it is
            looked up in ``chemicals``, see `critical_temperature`.
        intramolecular: by SMILES the coefficients a0, a1, ... (J/mol/K^(n+1)) of the heat capacity at constant volume
            of the ideal gas, a0 + a1 T + ...; without that of a molecule its label has no heat capacity.
        molecules: in the box. The box must be wider than two cut-offs of 1.4 nm: 250 is enough from butane on.
        ns: nanoseconds of the sample at each temperature.
        equilibration: nanoseconds before the sample.
        extensions: how often the first half of a sample that drifts is dropped and as much is sampled anew.
        platform: of OpenMM.
        threads: of the platform CPU.
        seed: of the start, the velocities and the thermostat, together with the molecule.

    Raises:
        ConfigError: if a number is out of its range.

    Source:
        Specification of GPR-MGK, section 2.6. Departures: TraPPE-UA instead of TEAM, which is commercial; 4 fs steps
        with rigid bonds; every temperature starts from one compressed liquid instead of an annealing of its own;
        convergence is judged from the halves of the sample.
    """

    name = "OpenMM, TraPPE-UA"

    def __init__(
        self,
        *,
        temperatures: Sequence[float] | None = None,
        critical_temperature: Mapping[str, float] | None = None,
        intramolecular: Mapping[str, Sequence[float]] | None = None,
        molecules: int = 250,
        ns: float = 0.5,
        equilibration: float = 0.1,
        extensions: int = 6,
        platform: str = "CPU",
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        least = 20 * INTERVAL / 1000
        numbers = {
            "molecules": (molecules, 2),
            "ns": (ns, least),
            "threads": (threads, 1),
            "extensions": (extensions, 0),
        }
        for what, (number, lowest) in {**numbers, "equilibration": (equilibration, 0)}.items():
            if not lowest <= number < math.inf:
                raise ConfigError(f"{what} must be at least {lowest:g}, got {number:g}.", hint=f"Raise {what}.")
        if temperatures is not None and not temperatures:
            raise ConfigError("There must be at least one temperature, got none.", hint="Give them in kelvin, or None.")
        check_temperatures(temperatures or ())
        self._temperatures = None if temperatures is None else tuple(sorted({float(t) for t in temperatures}))
        self._critical = {canonical(smiles): float(value) for smiles, value in (critical_temperature or {}).items()}
        self._molecular = {canonical(smiles): [float(a) for a in row] for smiles, row in (intramolecular or {}).items()}
        self._molecules, self._ns, self._equilibration = molecules, float(ns), float(equilibration)
        self._extensions, self._seed = extensions, seed
        self._device = Device(platform=platform, threads=threads)

    def settings(self) -> dict[str, Any]:
        """Give everything that determines a label beside the molecule and the versions of the libraries."""
        return {
            "protocol": PROTOCOL,
            "step": STEP,
            "temperatures": self._temperatures and list(self._temperatures),
            "critical_temperature": self._critical,
            "intramolecular": self._molecular,
            "molecules": self._molecules,
            "ns": self._ns,
            "equilibration": self._equilibration,
            "extensions": self._extensions,
            "platform": self._device.platform,
            "threads": self._device.threads,
            "seed": self._seed,
        }

    def label(self, smiles: str) -> Label:
        """Simulate one molecule at all temperatures, one after the other.

        Args:
            smiles: of an acyclic alkane.

        Returns:
            Its label.

        Raises:
            DataError: if it is not a SMILES string.
            SimulationError: if the force field lacks it, no temperature gives a liquid, or the values are not smooth.
        """
        start = time.perf_counter()
        molecule = united_atoms(smiles)
        self._check_size(molecule)
        temperatures = self._temperatures or temperature_grid(
            self._critical.get(molecule.smiles) or critical_temperature(molecule.smiles)
        )
        liquid = Liquid(
            molecule,
            molecules=self._molecules,
            temperature=max(temperatures),
            seed=self._seed,
            device=self._device,
        )
        points, missing = self._points(liquid, temperatures)
        if len(temperatures) < FEWEST_POINTS:
            missing["cp"] = f"needs {FEWEST_POINTS} temperatures, {len(temperatures)} were asked for"
            states = tuple(plain(point) for point in points)
        else:
            molecular = self._molecular.get(molecule.smiles)
            if molecular is None:
                missing["cp"] = "needs the heat capacity of the lone molecule: give it as intramolecular"
            states = smooth(points, molar_mass=molecule.molar_mass, molecular=molecular)
        return Label(points=states, missing=missing, seconds=time.perf_counter() - start)

    def _points(self, liquid: Liquid, temperatures: Sequence[float]) -> tuple[list[Point], dict[str, str]]:
        points: list[Point] = []
        missing: dict[str, str] = {}
        for temperature in temperatures:
            try:
                points.append(self._sample(liquid, temperature))
            except SimulationError as error:
                missing[f"{temperature:g} K"] = error.what
        check_enough(len(points), missing, asked=len(temperatures))
        return points, missing

    def _check_size(self, molecule: UnitedAtoms) -> None:
        edge = edge_of(molecule.molar_mass, self._molecules, DENSEST)
        if edge < 2 * CUTOFF:
            needed = int(self._molecules * (2 * CUTOFF / edge) ** 3) + 1
            raise SimulationError(
                f"box too small: {self._molecules} molecules of {molecule.smiles} are {edge:.2f} nm wide when "
                f"compressed, less than two cut-offs of {CUTOFF} nm.",
                hint=f"Give molecules={needed} or more.",
            )

    def _sample(self, liquid: Liquid, temperature: float) -> Point:
        liquid.settle(temperature, picoseconds=1000 * self._equilibration)
        series = converge(
            lambda picoseconds: liquid.sample(temperature, picoseconds=picoseconds),
            picoseconds=1000 * self._ns,
            extensions=self._extensions,
            temperature=temperature,
        )
        return judge(series, temperature=temperature)
