"""Greedy selection of the molecule that a Gaussian process knows least of, over a whole pool, without a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from modicum.core.progress import Progress, silent
from modicum.core.seeding import numpy_generator
from modicum.errors import ConfigError, DataError, StateError
from modicum.molecules.data.smiles import canonical
from modicum.molecules.functional import FloatArray
from modicum.molecules.select.lazy import LazyPosterior
from modicum.molecules.select.posterior import (
    Certificate,
    MoleculeKernel,
    Molecules,
    P,
    check_noise,
    check_threshold,
    smiles_of,
)

Start: TypeAlias = Sequence[int] | Sequence[str] | Literal["random", "maxvar"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Molecules in the order in which they were selected, and what they cover.

    Args:
        picks: indices into the pool, those of the start first.
        smiles: of the picks.
        deviations: posterior deviation of each pick just before it was selected, shape (k,).
        certificate: the largest posterior std that is left in the pool.
        evaluations: kernel values computed between two molecules, the diagonal not counted.
        pool_size: molecules in the pool.
    """

    picks: tuple[int, ...]
    smiles: tuple[str, ...]
    deviations: FloatArray
    certificate: Certificate
    evaluations: int
    pool_size: int

    def __str__(self) -> str:
        certificate = self.certificate
        which = "molecule that did not fail" if certificate.failed else "molecule"
        held = f"{'every' if certificate.holds else 'not every'} {which} is below"
        above = [deviation for _, deviation in certificate.failed if deviation >= certificate.threshold]
        stay = "molecule stays" if len(above) == 1 else "molecules stay"
        failed = f" {len(above):,} failed {stay} above it, up to {max(above):.4f}." if above else ""
        return (
            f"{len(self.picks):,} of {self.pool_size:,} molecules; {held} {certificate.threshold:g}, the largest "
            f"posterior std is {certificate.largest:.4f} at {certificate.at}.{failed}"
        )

    def to_json(self) -> dict[str, Any]:
        """Give all of it as what JSON can hold."""
        certificate, picks = self.certificate, zip(self.smiles, self.deviations.tolist(), strict=True)
        listed = lambda pairs: [{"smiles": smiles, "deviation": deviation} for smiles, deviation in pairs]
        return {
            "pool": self.pool_size,
            "selected": len(self.picks),
            "kernel_evaluations": self.evaluations,
            "certificate": {
                "largest_deviation": certificate.largest,
                "at": certificate.at,
                "threshold": certificate.threshold,
                "holds": certificate.holds,
                "failed": listed(certificate.failed),
            },
            "molecules": listed(picks),
        }


class ActiveLearner(Generic[P]):
    """Select the molecule of largest posterior std, again and again, exactly and without refitting.

    Each molecule remembers how many of the selected ones its variance takes account of. A variance that is behind is an
    upper bound, since it can only fall; a molecule is brought up to date only if its bound could be the maximum, and
    only as far as that is so. A molecule whose bound is below the threshold is thus left alone until the certificate,
    and there too if the maximum is above its bound.

    Args:
        kernel: of the process; normalised, if thresholds are to mean what they mean in the paper.
        pool: the molecules to choose from and to cover.
        noise: variance of a label's error, above 0, on selected molecules; no part of a deviation. 0.01 is of the
            official code.
        start: what is selected first: "random" (two molecules, as in the official code), "maxvar" (nothing: the
            rule itself chooses), or molecules of the pool, as indices or as SMILES.
        seed: of a random start.
        batch: molecules brought up to date at once when few picks are asked for. It changes no pick.

    Raises:
        ConfigError: if the pool is empty, or the noise or the start is unusable.
        ModelError: if the kernel is not positive semi-definite.
    """

    def __init__(
        self,
        kernel: MoleculeKernel[P],
        pool: Molecules,
        *,
        noise: float = 0.01,
        start: Start = "random",
        seed: int = 0,
        batch: int = 256,
    ) -> None:
        check_noise(noise)
        if batch < 1:
            raise ConfigError(f"batch must be at least 1, got {batch}.", hint="Leave it out.")
        self._batch = batch
        self._names = smiles_of(pool)
        self._canonical: dict[str, int] | None = None
        first = self._read_start(start, seed)
        self._posterior = LazyPosterior(kernel, self._names, noise)
        self._failed: list[int] = []
        for index in first:
            self._posterior.add(index)

    @property
    def picks(self) -> tuple[int, ...]:
        """Indices of the selected molecules, in order."""
        return tuple(pick.index for pick in self._posterior.picks)

    def run(
        self, stop_uncertainty: float = 0.5, *, max_picks: int | None = None, progress: Progress = silent
    ) -> Selection:
        """Select until every molecule of the pool has a posterior deviation below a threshold.

        A run that was interrupted, or that a molecule was taken out of, is continued by calling it again.

        Args:
            stop_uncertainty: the threshold, in (0, 1].
            max_picks: end with so many selected molecules, those of the start included, even above the threshold.
            progress: called after each pick with (selected molecules, 0, the largest posterior std in words).

        Returns:
            All that is selected so far, with its certificate.

        Raises:
            ConfigError: if the threshold or the number is out of range, or more molecules are selected already.
        """
        check_threshold(stop_uncertainty)
        if max_picks is not None and max_picks < 1:
            raise ConfigError(f"max_picks must be at least 1, got {max_picks}.", hint="Leave it out for no limit.")
        if max_picks is not None and max_picks < len(self.picks):
            raise ConfigError(
                f"max_picks is {max_picks}, but {len(self.picks)} molecules are selected already.",
                hint="Give a larger number, or begin with start='maxvar', which selects none before the rule.",
            )
        limit = len(self._names) if max_picks is None else max_picks
        # A run to its end needs every value that is above the threshold: then all at once is cheapest.
        batch = len(self._names) if max_picks is None else self._batch
        posterior, floor = self._posterior, _floor(stop_uncertainty)
        while len(posterior.picks) < limit and self._open().any():
            index = posterior.largest(self._open(), floor=floor, batch=batch)
            if _deviation(posterior.bound(index)) < stop_uncertainty:
                break
            posterior.add(index)
            progress(len(posterior.picks), 0, f"largest std {posterior.picks[-1].deviation:.3f}")
        return Selection(
            picks=self.picks,
            smiles=tuple(self._names[index] for index in self.picks),
            deviations=np.array([pick.deviation for pick in posterior.picks]),
            certificate=self.certificate(stop_uncertainty),
            evaluations=posterior.evaluations,
            pool_size=len(self._names),
        )

    def smiles(self, index: int) -> str:
        """Give a molecule of the pool."""
        return self._names[index]

    def propose(self, count: int, *, stop_uncertainty: float | None = None) -> tuple[int, ...]:
        """Select the next molecules, to be labelled together.

        They are what one after the other would have been selected: a variance needs no label.

        Args:
            count: at least 1.
            stop_uncertainty: select none whose deviation is below this, in (0, 1]; None selects whatever is left.

        Returns:
            Their indices; fewer, if the pool has no more.

        Raises:
            ConfigError: if the number is below 1, or the threshold out of range.
        """
        if count < 1:
            raise ConfigError(f"The number of molecules must be at least 1, got {count}.", hint="Ask for 1 or more.")
        if stop_uncertainty is not None:
            check_threshold(stop_uncertainty)
        floor = -math.inf if stop_uncertainty is None else _floor(stop_uncertainty)
        before = len(self.picks)
        while len(self.picks) < before + count and self._open().any():
            index = self._posterior.largest(self._open(), floor=floor, batch=self._batch)
            if stop_uncertainty is not None and _deviation(self._posterior.bound(index)) < stop_uncertainty:
                break
            self._posterior.add(index)
        return self.picks[before:]

    def fail(self, molecule: int | str) -> None:
        """Take a molecule out: it is no longer selected, will not be again, and need not be covered.

        What it explained is given back to every molecule that had taken account of it, whether above or below the
        threshold, without a kernel value: the state is that of a learner that never had it. Call `run` or `propose` to
        go on.

        Args:
            molecule: index, or SMILES in any spelling; selected or not.

        Raises:
            ConfigError: if it is not in the pool.
            StateError: if it was taken out before.
        """
        index = self._find([molecule])[0]
        if index in self._failed:
            raise StateError(f"{self._names[index]} was already taken out.", hint="Report each failure once.")
        if index in self.picks:
            self._posterior.remove(self.picks.index(index))
        self._failed.append(index)

    def certificate(self, threshold: float = 0.5) -> Certificate:
        """Find the largest posterior std over every molecule of the pool, given what is selected.

        Only molecules whose bound is above that maximum are brought up to date for it.

        Args:
            threshold: that all deviations must be below, in (0, 1].

        Returns:
            The certificate, with the maximum itself.

        Raises:
            StateError: if every molecule failed.
        """
        check_threshold(threshold)
        covered = np.ones(len(self._names), dtype=bool)
        covered[self._failed] = False
        if not covered.any():
            raise StateError("Every molecule of the pool failed.", hint="Give another pool.")
        place = self._posterior.largest(covered, floor=-math.inf, batch=self._batch)
        self._posterior.update(np.array(self._failed, dtype=np.int64), -math.inf)
        return Certificate(
            largest=_deviation(self._posterior.bound(place)),
            at=self._names[place],
            threshold=threshold,
            failed=tuple((self._names[index], _deviation(self._posterior.bound(index))) for index in self._failed),
        )

    def _open(self) -> npt.NDArray[np.bool_]:
        free = np.ones(len(self._names), dtype=bool)
        free[[*self.picks, *self._failed]] = False
        return free

    def _read_start(self, start: Start, seed: int) -> list[int]:
        if start == "random":
            size = len(self._names)
            return numpy_generator(seed, "start").choice(size, size=min(2, size), replace=False).tolist()
        if start == "maxvar":
            return []
        if isinstance(start, str):
            raise ConfigError(
                f"There is no start {start!r}.", hint="Use 'random', 'maxvar' or a list of molecules of the pool."
            )
        indices = self._find(start)
        repeated = [index for place, index in enumerate(indices) if index in indices[:place]]
        if repeated:
            raise ConfigError(
                f"{self._names[repeated[0]]} is twice in the start.", hint="Name each molecule of the start once."
            )
        return indices

    def _find(self, molecules: Sequence[int | str]) -> list[int]:
        places: dict[str, int] = {}
        if any(isinstance(molecule, str) for molecule in molecules):
            for place, name in enumerate(self._names):
                places.setdefault(name, place)
        indices = [places.get(one, -1) if isinstance(one, str) else int(one) for one in molecules]
        for at, one in enumerate(molecules):
            if isinstance(one, str) and indices[at] < 0:  # in another spelling, as of a labeller
                indices[at] = self._canonical_places().get(_spelt(one), -1)
        for index, molecule in zip(indices, molecules, strict=True):
            if not 0 <= index < len(self._names):
                raise ConfigError(
                    f"{molecule!r} is no molecule of the pool of {len(self._names)}.",
                    hint="Give an index from 0, or the SMILES of a molecule of the pool.",
                )
        return indices

    def _canonical_places(self) -> dict[str, int]:
        if self._canonical is None:
            self._canonical = {}
            for place, name in enumerate(self._names):  # a minute for a quarter of a million
                self._canonical.setdefault(_spelt(name) or name, place)
        return self._canonical


def _spelt(smiles: str) -> str:
    try:
        return canonical(smiles)
    except DataError:  # kernels may know molecules by other names
        return ""


def _floor(threshold: float) -> float:
    # A little below the square, so that whatever is below it is below the threshold after rounding too.
    return threshold * threshold * (1 - 1e-15)


def _deviation(variance: float) -> float:
    return math.sqrt(max(variance, 0.0))
