"""The engine: float in, float out, and integers in between, the same whatever runs them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, get_args

import numpy as np
import torch

from modicum.errors import ConfigError, DataError
from modicum.quantize.engine.build import CompiledProgram, find_compiler
from modicum.quantize.engine.program import Program
from modicum.quantize.engine.reference import run_program
from modicum.quantize.functional import round_to

Backend = Literal["auto", "c", "numpy"]


class Engine:
    """Runs a program on batches.

    Args:
        program: from `lower`.
        backend: "c" is built with the system's compiler, for AVX512-VNNI, AVX2 or without intrinsics, as the processor
            has it; "numpy" is the plain reference, which is slow; "auto" is "c" where there is a compiler.
        threads: samples of a batch are shared out among so many.

    Raises:
        ConfigError: if a number could leave int32, there is no compiler for "c", or an argument is not one of these.
    """

    def __init__(self, program: Program, backend: Backend = "auto", threads: int = 1) -> None:
        if backend not in get_args(Backend):
            raise ConfigError(
                f"backend must be one of {', '.join(get_args(Backend))}, but it is {backend!r}.", hint="Use 'auto'."
            )
        if threads < 1:
            raise ConfigError(f"threads must be >= 1, but it is {threads}.", hint="Use 1.")
        program.certify()
        self.program = program
        self.threads = threads
        self.backend, self._run = _runner(program, backend)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._dtype = np.int8 if program.grid.signed else np.uint8

    def run(self, x: np.ndarray | torch.Tensor) -> np.ndarray:
        """Give logits as float64: those of the simulation in float64, bit for bit.

        Args:
            x: real numbers, shape (batch, *shape of a sample), float32 or float64.

        Returns:
            float64, shape (batch, ...).

        Raises:
            DataError: if the shape is another, or a number is not finite.
        """
        numbers, exponent = self.run_integers(self.to_grid(x))
        return np.ldexp(numbers.astype(np.float64), exponent)

    def run_integers(self, numbers: np.ndarray) -> tuple[np.ndarray, int]:
        """Give logits as integers and their exponent.

        Args:
            numbers: on the grid of the input, an integer dtype, shape (batch, *shape of a sample).

        Returns:
            int32, shape (batch, ...), in units of 2^exponent; and the exponent.

        Raises:
            DataError: if the shape is another, or a number is not on the grid.
        """
        self._check(numbers)
        if numbers.dtype != self._dtype:
            grid = self.program.grid
            if numbers.dtype.kind not in "iu" or (
                numbers.size and (numbers.min() < grid.low or numbers.max() > grid.high)
            ):
                raise DataError(
                    f"The input must be integers in {grid.low} ... {grid.high}.",
                    hint="Bring real values there by to_grid, or call run with them.",
                )
            numbers = numbers.astype(self._dtype)
        numbers = np.ascontiguousarray(numbers)
        if self._pool is None or len(numbers) < 2:
            return self._run(numbers), self.program.exponent
        parts = np.array_split(numbers, min(self.threads, len(numbers)))
        return np.concatenate([*self._pool.map(self._run, parts)]), self.program.exponent

    def to_grid(self, x: np.ndarray | torch.Tensor) -> np.ndarray:
        """Bring real values to the grid of the input, as the simulation does in the same dtype.

        Args:
            x: shape (batch, *shape of a sample), float32 or float64.

        Returns:
            int8 if the grid is signed and else uint8, same shape.

        Raises:
            DataError: if the shape or the dtype is another, or a number is NaN.
        """
        array = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else x
        if array.dtype not in {np.dtype(np.float32), np.dtype(np.float64)}:
            raise DataError(
                f"The input must be float32 or float64, but it is {array.dtype}.", hint="Use run_integers for integers."
            )
        self._check(array)
        grid = self.program.grid
        scaled = array / array.dtype.type(grid.scale)
        # In place where ties are to even: numpy's rint is torch's round, without a tensor around a single image.
        even = grid.rounding == "half_even"
        whole = np.rint(scaled, out=scaled) if even else round_to(torch.from_numpy(scaled), grid.rounding).numpy()
        clipped = np.minimum(np.maximum(whole, grid.low, out=whole), grid.high, out=whole)
        if np.isnan(clipped.sum()):
            raise DataError("The input holds NaN.", hint="Leave such samples out.")
        return clipped.astype(self._dtype)

    def _check(self, x: np.ndarray) -> None:
        if x.shape[1:] != self.program.input.shape:
            raise DataError(
                f"Samples must have shape {self.program.input.shape}, got {x.shape[1:]}.",
                hint="Bring them to the shape of the calibration data.",
            )


def _runner(program: Program, backend: Backend) -> tuple[Backend, Callable[[np.ndarray], np.ndarray]]:
    compiler = find_compiler() if backend in {"auto", "c"} else None
    if compiler is not None:
        return "c", CompiledProgram(program, compiler).run
    if backend == "c":
        raise ConfigError("There is no C compiler (cc).", hint="Set CC to the path of one, or use backend='numpy'.")
    return "numpy", lambda numbers: run_program(program, numbers.astype(np.int64)).astype(np.int32)
