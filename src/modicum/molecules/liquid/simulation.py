"""Molecular dynamics of one box: fill it, compress it into a liquid, sample it at one temperature after another."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from modicum.core.extras import require
from modicum.core.seeding import derive, numpy_generator
from modicum.errors import ConfigError, SimulationError
from modicum.molecules.functional import FloatArray
from modicum.molecules.liquid.trappe import BONDED, INSIDE, NONBONDED, UnitedAtoms, build_system

SHAPES = 10  # conformers that the molecules of a box start from; the liquid forgets them when it is compressed
PATIENCE = 60  # seconds of RDKit's search for shapes, which for an impossible molecule has no end
LEAST_DISTANCE = 0.38  # nm between groups of two molecules, about sigma: the start has no steep repulsion
TRIALS = 1000  # placements of one molecule before the box counts as too dense
_AVOGADRO = 0.602214076  # g/mol per kg/m3 per nm3 is 1 / 0.6022


@dataclass(frozen=True, slots=True)
class Box:
    """Molecules in a cube with periodic walls."""

    positions: FloatArray  # nm, shape (molecules, groups, 3); molecules are whole, and so may reach over a wall
    edge: float  # nm


def edge_of(molar_mass: float, molecules: int, density: float) -> float:
    """Give the edge (nm) of the cube that holds some molecules (g/mol) at a density (kg/m3)."""
    return (molecules * molar_mass / (_AVOGADRO * density)) ** (1 / 3)


def conformers(molecule: UnitedAtoms, count: int, *, seed: int) -> FloatArray:
    """Make three-dimensional shapes of a molecule."""
    chem: Any = require("rdkit.Chem", extra="molecules", purpose="Building molecules")
    from rdkit.Chem import AllChem

    built = chem.AddHs(chem.MolFromSmiles(molecule.smiles))
    settings: Any = AllChem.ETKDGv3()  # pyright: ignore[reportAttributeAccessIssue]
    settings.timeout = PATIENCE
    settings.randomSeed = derive(seed, f"conformers/{molecule.smiles}") % 2**31
    found: list[int] = []
    for random in (False, True):
        settings.useRandomCoords = random
        places = AllChem.EmbedMultipleConfs(built, count, settings)  # pyright: ignore[reportAttributeAccessIssue]
        found = [place for place in places if place >= 0]  # -1 when its time is over
        if found:
            break
    if not found:
        raise SimulationError(
            f"no shape: RDKit finds no room for the groups of {molecule.smiles}.", hint="Leave the molecule out."
        )
    shapes = np.stack([built.GetConformer(place).GetPositions()[: len(molecule)] / 10 for place in found])
    return shapes - shapes.mean(axis=1, keepdims=True)


def fill_box(molecule: UnitedAtoms, molecules: int, *, density: float, seed: int) -> Box:
    """Put molecules at random places and in random directions into a dilute box."""
    edge = edge_of(molecule.molar_mass, molecules, density)
    shapes = conformers(molecule, SHAPES, seed=seed)
    generator = numpy_generator(seed, f"box/{molecule.smiles}")
    placed: list[FloatArray] = []
    for _ in range(molecules):
        tree = None
        if placed:
            tree = cKDTree(np.concatenate(placed) % edge, boxsize=edge)  # pyright: ignore[reportArgumentType, reportCallIssue]
        placed.append(_place(shapes, tree, edge=edge, generator=generator))
    return Box(np.stack(placed), edge)


def _place(shapes: FloatArray, tree: cKDTree | None, *, edge: float, generator: np.random.Generator) -> FloatArray:
    for _ in range(TRIALS):
        shape = shapes[generator.integers(len(shapes))]
        trial = Rotation.random(None, generator).apply(shape) + generator.uniform(0, edge, 3)
        if tree is None or np.all(tree.query(trial % edge)[0] > LEAST_DISTANCE):
            return trial
    raise SimulationError(
        f"no room: a molecule found no room in {TRIALS} trials.", hint="Ask for a box of lower density."
    )


STEP = 0.004  # ps; bonds are rigid and the fastest motion, the bending, has a period of about 0.09 ps
INTERVAL = 0.4  # ps between two samples
FRICTION = 1.0  # per ps
BAROSTAT_EVERY = 25  # steps
START_DENSITY = 100.0  # kg/m3
COMPRESSION = 1500.0  # bar; a dilute box at 1 bar would evaporate
COMPRESSION_TIME = 12.0  # ps at least
COMPRESSION_LIMIT = 200.0  # ps at most
VAPOUR = 100.0  # kg/m3, official code (aimstools)


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """Where OpenMM computes."""

    platform: str = "CPU"  # of OpenMM: "CPU", "Reference", "CUDA", "OpenCL" or "HIP"
    threads: int = 1  # of the platform CPU; the others do not read it

    def open(self, system: Any, integrator: Any) -> Any:
        """Open a context of OpenMM."""
        mm: Any = require("openmm", extra="molecules", purpose="Simulating liquids")
        try:
            platform = mm.Platform.getPlatform(self.platform)
            properties = {"Threads": str(self.threads)} if self.platform == "CPU" else {}
            if "DeterministicForces" in platform.getPropertyNames():
                properties["DeterministicForces"] = "true"
            return mm.Context(system, integrator, platform, properties)
        except mm.OpenMMException as error:
            here = [mm.Platform.getPlatform(place).getName() for place in range(mm.Platform.getNumPlatforms())]
            raise ConfigError(
                f"OpenMM cannot use the platform {self.platform!r} ({error}).", hint=f"It has here: {', '.join(here)}."
            ) from error


@dataclass(frozen=True, slots=True)
class Series:
    """Samples of a liquid, one every 0.4 ps."""

    density: FloatArray  # kg/m3, shape (times,)
    inter: FloatArray  # energy between molecules, kJ/mol of molecules, shape (times,)
    centres: FloatArray  # of mass of the molecules, nm, shape (times, molecules, 3)
    edges: FloatArray  # of the box, nm, shape (times,)

    def __len__(self) -> int:
        return len(self.density)

    def later_half(self) -> Series:
        """Leave the first half out: it was equilibration."""
        half = len(self) // 2
        return Series(self.density[half:], self.inter[half:], self.centres[half:], self.edges[half:])

    def then(self, other: Series) -> Series:
        """Append what was sampled next."""
        return Series(
            np.concatenate([self.density, other.density]),
            np.concatenate([self.inter, other.inter]),
            np.concatenate([self.centres, other.centres]),
            np.concatenate([self.edges, other.edges]),
        )


class Liquid:
    """A box of one substance at a temperature and pressure."""

    def __init__(self, molecule: UnitedAtoms, *, molecules: int, temperature: float, seed: int, device: Device) -> None:
        mm: Any = require("openmm", extra="molecules", purpose="Simulating liquids")
        self._mm = mm
        self._molecule, self._molecules, self._seed = molecule, molecules, seed
        self._masses = np.array(molecule.masses)
        box = fill_box(molecule, molecules, density=START_DENSITY, seed=seed)
        system = build_system(molecule, molecules, edge=box.edge)
        self._barostat = mm.MonteCarloBarostat(COMPRESSION, temperature, BAROSTAT_EVERY)
        self._integrator = mm.LangevinMiddleIntegrator(temperature, FRICTION, STEP)
        # Forces of the model only: INSIDE is asked for its energy and moves nothing.
        self._integrator.setIntegrationForceGroups({BONDED, NONBONDED})
        for name, part in (("barostat", self._barostat), ("thermostat", self._integrator)):
            part.setRandomNumberSeed(self._openmm_seed(name))
        system.addForce(self._barostat)
        self._context = device.open(system, self._integrator)
        with _translated(mm, temperature):
            self._compress(box, temperature)
        self._start = self._context.getState(positions=True)

    def settle(self, temperature: float, *, picoseconds: float) -> Series:
        """Go back to the compressed liquid and equilibrate it anew, at 1 bar."""
        context = self._context
        context.setPeriodicBoxVectors(*self._start.getPeriodicBoxVectors())
        context.setPositions(self._start.getPositions())
        self._integrator.setTemperature(temperature)
        context.setParameter(self._mm.MonteCarloBarostat.Temperature(), temperature)
        context.setParameter(self._mm.MonteCarloBarostat.Pressure(), 1.0)
        context.setVelocitiesToTemperature(temperature, self._openmm_seed(f"velocities/{temperature}"))
        return self.sample(temperature, picoseconds=picoseconds)

    def sample(self, temperature: float, *, picoseconds: float) -> Series:
        """Go on from where it is, and sample."""
        rows: list[tuple[float, float, FloatArray, float]] = []
        with _translated(self._mm, temperature):
            for _ in range(max(1, round(picoseconds / INTERVAL))):
                self._integrator.step(round(INTERVAL / STEP))
                rows.append(self._measure())
                if rows[-1][0] < VAPOUR:
                    raise SimulationError(
                        f"vaporized: at {temperature:g} K the density fell to {rows[-1][0]:.0f} kg/m3.",
                        hint="Ask for lower temperatures.",
                    )
        density, inter, centres, edges = zip(*rows, strict=True)
        return Series(np.array(density), np.array(inter), np.stack(centres), np.array(edges))

    def _compress(self, box: Box, temperature: float) -> None:
        context = self._context
        context.setPositions(box.positions.reshape(-1, 3))
        context.applyConstraints(1e-6)
        self._mm.LocalEnergyMinimizer.minimize(context, 10.0, 200)
        context.setVelocitiesToTemperature(temperature, self._openmm_seed("velocities"))
        before, passed = 0.0, 0.0
        while passed < COMPRESSION_LIMIT:
            self._integrator.step(round(4.0 / STEP))
            passed += 4.0
            density = self._measure()[0]
            if passed >= COMPRESSION_TIME and density < 1.02 * before:
                break
            before = density
        else:
            raise SimulationError(
                f"not converged: at {COMPRESSION:g} bar and {temperature:g} K the box still shrinks after "
                f"{COMPRESSION_LIMIT:g} ps.",
                hint="Ask for fewer molecules.",
            )

    def _measure(self) -> tuple[float, float, FloatArray, float]:
        state = self._context.getState(energy=True, positions=True, groups=1 << NONBONDED)
        inside = self._context.getState(energy=True, groups=1 << INSIDE)
        kilojoule, nanometer = self._mm.unit.kilojoule_per_mole, self._mm.unit.nanometer
        between = (state.getPotentialEnergy() - inside.getPotentialEnergy()).value_in_unit(kilojoule)
        edge = state.getPeriodicBoxVectors()[0][0].value_in_unit(nanometer)
        positions = state.getPositions(asNumpy=True).value_in_unit(nanometer)
        positions = np.asarray(positions).reshape(self._molecules, len(self._molecule), 3)
        centres = np.einsum("mgd,g->md", positions, self._masses) / self._masses.sum()
        density = (edge_of(self._molecule.molar_mass, self._molecules, 1.0) / edge) ** 3
        return density, between / self._molecules, centres, edge

    def _openmm_seed(self, stream: str) -> int:
        # OpenMM takes 32 bits, and reads 0 as "choose one yourself".
        return derive(self._seed, f"{stream}/{self._molecule.smiles}") % (2**31 - 1) + 1


@contextmanager
def _translated(mm: Any, temperature: float) -> Generator[None]:
    try:
        yield
    except mm.OpenMMException as error:
        raise SimulationError(
            f"unstable: OpenMM stopped at {temperature:g} K ({error}).",
            hint="Ask for more molecules if the box is too small; otherwise leave this molecule out.",
        ) from error
