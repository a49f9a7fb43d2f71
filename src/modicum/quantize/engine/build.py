"""The C source as a shared library: built at first use, kept in the cache, called on arrays of integers."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modicum.core.catalogue import places_from_environment
from modicum.core.files import make_folder
from modicum.errors import ConfigError
from modicum.quantize.engine.c_source import Source, source_of
from modicum.quantize.engine.program import Program

FLAGS = ("-std=c99", "-O3", "-march=native", "-shared", "-fPIC", "-w")


def find_compiler() -> str | None:
    """Give the path of the C compiler, $CC or cc, or None if there is none."""
    return shutil.which(os.environ.get("CC") or "cc")


def build(source: Source, compiler: str, flags: Sequence[str] = ()) -> Path:
    """Compile a source, unless the cache has it: of the same text, compiler, flags and processor."""
    all_flags = (*FLAGS, *flags)
    parts = (source.header, source.code, _output(compiler, "--version"), " ".join(all_flags), _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder = places_from_environment().cache / "engine"
    path, seal = folder / f"{key}.so", folder / f"{key}.sha256"
    make_folder(folder, hint="Set MODICUM_CACHE to a folder that can be written.")
    _close(folder)
    if _is_whole(path, seal):
        return path
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / f"{source.name}.h").write_text(source.header, encoding="utf-8")
        code, built = Path(work) / f"{source.name}.c", Path(work) / "built.so"
        code.write_text(source.code, encoding="utf-8")
        _output(compiler, *all_flags, str(code), "-o", str(built))
        digest = Path(work) / "digest"
        digest.write_text(_digest(built), encoding="ascii")
        for file, target in ((digest, seal), (built, path)):
            file.chmod(0o700)
            file.replace(target)  # at once: another process may be building the same
    return path


def _close(folder: Path) -> None:
    """Leave the folder to its owner: who can write in it has our process run what he likes."""
    try:
        if folder.stat().st_uid == os.getuid():
            folder.chmod(0o700)
            return
    except OSError:
        pass
    raise ConfigError(
        f"The cache folder {folder} belongs to another user, who could put machine code there.",
        hint="Set MODICUM_CACHE to a folder of your own.",
    )


def _is_whole(path: Path, seal: Path) -> bool:
    """See whether a library is ours and as it was built; a shortened one would end the process without a word."""
    try:
        ours = all(
            file.is_file()
            and not file.is_symlink()
            and file.stat().st_uid == os.getuid()
            and not file.stat().st_mode & 0o022
            for file in (path, seal)
        )
        return ours and seal.read_text(encoding="ascii") == _digest(path)
    except (OSError, UnicodeDecodeError):
        return False


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class CompiledProgram:
    """A program that runs as machine code."""

    def __init__(self, program: Program, compiler: str, flags: Sequence[str] = ()) -> None:
        source = source_of(program, compact=True)
        self.path = build(source, compiler, flags)
        self._call = ctypes.CDLL(str(self.path)).model_batch
        self._call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
        self._call.restype = None
        self._scratch = source.scratch // 4
        self._shape = program.values[program.output].shape

    def run(self, numbers: np.ndarray) -> np.ndarray:
        """Run a batch; calls from several threads may overlap."""
        result = np.empty((len(numbers), *self._shape), np.int32)
        scratch = np.empty(self._scratch, np.int32)
        self._call(numbers.ctypes.data, result.ctypes.data, scratch.ctypes.data, len(numbers))
        return result


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - the user's compiler
    except OSError as error:
        raise ConfigError(
            f"The compiler {command[0]} cannot be run ({error.strerror}).", hint="Set CC to one that can, or unset it."
        ) from error
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
        raise ConfigError(
            f"The compiler {command[0]} failed: {first.strip()}",
            hint="Set CC to gcc or clang, or use backend='numpy'.",
        )
    return done.stdout


def _processor() -> str:
    # What is built with -march=native may not run on another machine that shares the cache.
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.node()}"
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(("flags", "Features"))}))
