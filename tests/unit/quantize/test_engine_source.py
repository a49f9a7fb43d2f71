from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tests.unit.quantize.coded import coded
from tests.unit.quantize.engine_networks import NETWORKS

from modicum.errors import ConfigError
from modicum.quantize.engine.build import build, find_compiler
from modicum.quantize.engine.c_scalar import lay_out
from modicum.quantize.engine.c_source import source_of, write_c
from modicum.quantize.engine.engine import Engine
from modicum.quantize.engine.program import Program, lower
from modicum.quantize.graph.ops import Layer

FLOATS = re.compile(r"\b(mul|add|sub|div)[sp][sd]|\bv?(mul|add|sub|div|fmadd\d+)[sp][sd]|cvt\w*[sp][sd]\b")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


def compiler() -> str:
    found = find_compiler()
    if found is None:
        pytest.skip("there is no C compiler")
    return found


@pytest.mark.parametrize("flags", [(), ("-DMODICUM_SCALAR",)], ids=str)
@pytest.mark.parametrize("name", ["residual", "mobile", "stem"])
def test_no_instruction_is_of_floating_point(name: str, flags: tuple[str, ...]) -> None:
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("there is no objdump")
    make, shape = NETWORKS[name]
    library = build(source_of(lower(coded(make().eval(), shape)[0])), compiler(), flags)
    listing = subprocess.run([objdump, "-d", str(library)], check=True, capture_output=True, text=True).stdout
    assert "model_run" in listing
    assert FLOATS.findall(listing) == []


def test_the_search_for_floating_point_finds_it(tmp_path: Path) -> None:
    objdump = shutil.which("objdump")
    if objdump is None:
        pytest.skip("there is no objdump")
    (tmp_path / "real.c").write_text("float half(int x) { return x * 0.5f; }\n", encoding="utf-8")
    built = tmp_path / "real.o"
    subprocess.run([compiler(), "-O3", "-march=native", "-c", str(tmp_path / "real.c"), "-o", str(built)], check=True)
    listing = subprocess.run([objdump, "-d", str(built)], check=True, capture_output=True, text=True).stdout
    if "x86-64" in listing:
        assert FLOATS.search(listing)


@pytest.mark.parametrize("name", ["residual", "mobile", "stem", "twice"])
def test_exported_code_is_strict_c99_that_needs_no_library(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    code, header = write_c(lower(coded(make().eval(), shape)[0]), tmp_path / "new", "net")
    text = code.read_text(encoding="utf-8") + header.read_text(encoding="utf-8")
    assert set(re.findall(r"#include <(\w+)\.h>", text)) == {"string", "stdint", "immintrin"}
    assert not re.search(r"\b(float|double|malloc|calloc)\b", text)
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-DMODICUM_SCALAR"]
    subprocess.run([compiler(), *strict, "-c", str(code), "-o", str(tmp_path / "net.o")], check=True)


@pytest.mark.parametrize("name", ["residual", "mobile", "stem", "twice", "dense", "wide"])
def test_exported_code_runs_alone_and_stays_within_its_memory(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    model, x = coded(make().eval(), shape)
    program = lower(model)
    engine = Engine(program, "numpy")
    numbers = engine.to_grid(x[:2])
    code, _ = write_c(program, tmp_path, "net")
    given = ", ".join(str(it) for it in numbers.reshape(-1))
    (tmp_path / "main.c").write_text(
        f"""
        #include <stdio.h>
        #include <stdlib.h>
        #include "net.h"
        static const {"int8_t" if program.grid.signed else "uint8_t"} given[] = {{ {given} }};
        int main(void) {{
            int32_t *scratch = malloc(NET_SCRATCH), *result = malloc(2 * NET_OUTPUT * sizeof(int32_t));
            net_batch(given, result, scratch, 2);
            for (int n = 0; n < 2 * NET_OUTPUT; ++n) printf("%d\\n", (int)result[n]);
            return 0;
        }}
        """,
        encoding="utf-8",
    )
    watched = ["-O1", "-march=native", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [compiler(), *watched, str(code), str(tmp_path / "main.c"), "-o", str(tmp_path / "main")]
    if subprocess.run(command, capture_output=True, text=True).returncode:
        pytest.skip("the compiler has no sanitizers")
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0, done.stderr
    wanted, _ = engine.run_integers(numbers)
    assert [int(it) for it in done.stdout.split()] == wanted.reshape(-1).tolist()


def test_a_library_is_built_once_and_again_for_other_weights() -> None:
    make, shape = NETWORKS["dense"]
    source = source_of(lower(coded(make().eval(), shape)[0]))
    first = build(source, compiler())
    stamp = first.stat().st_mtime_ns
    assert build(source, compiler()) == first
    assert first.stat().st_mtime_ns == stamp
    assert build(source_of(lower(coded(make().eval(), shape, seed=1)[0])), compiler()) != first
    assert sorted(it.suffix for it in first.parent.iterdir()) == [".sha256", ".sha256", ".so", ".so"]


@pytest.mark.parametrize("damage", ["empty", "text", "half", "writable by others", "link"])
def test_a_library_that_is_not_as_it_was_built_is_built_again(damage: str, tmp_path: Path) -> None:
    make, shape = NETWORKS["dense"]
    source = source_of(lower(coded(make().eval(), shape)[0]))
    path = build(source, compiler())
    whole = path.read_bytes()
    if damage == "link":
        path.rename(tmp_path / "elsewhere.so")
        path.symlink_to(tmp_path / "elsewhere.so")
    elif damage == "writable by others":
        path.chmod(0o777)
    else:
        path.write_bytes({"empty": b"", "text": b"text", "half": whole[: len(whole) // 2]}[damage])
    assert build(source, compiler()) == path
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o700
    ctypes.CDLL(str(path))  # a library cut in half would end the process


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "engine"
    folder.mkdir(parents=True)
    os.chown(folder, 12345, -1)
    make, shape = NETWORKS["dense"]
    with pytest.raises(ConfigError, match="belongs to another user"):
        build(source_of(lower(coded(make().eval(), shape)[0])), compiler())


def test_no_name_of_the_network_stands_in_the_source() -> None:
    make, shape = NETWORKS["dense"]
    program = lower(coded(make().eval(), shape)[0])
    source = source_of(program)
    comments = re.findall(r"/\*.*?\*/", source.code + source.header, re.DOTALL)
    for step in program.steps:
        assert not any(step.result.name in comment.split() for comment in comments)


@pytest.mark.parametrize("name", NETWORKS)
def test_values_that_live_at_one_time_do_not_share_memory(name: str) -> None:
    make, shape = NETWORKS[name]
    program = lower(coded(make().eval(), shape)[0])
    layout = lay_out(program)
    later = {program.output}  # what is read from here on
    for step in reversed(program.steps):
        alive = {step.result.name, *step.reads, *later} & {step.result.name, *_before(program, step.result.name)}
        places = [layout.buffers[it] for it in alive]
        for one, other in itertools.combinations(places, 2):
            assert one.place + one.size <= other.place or other.place + other.size <= one.place
        later |= set(step.reads)
    assert layout.size <= sum(it.size for it in layout.buffers.values())


def _before(program: Program, name: str) -> list[str]:
    names = list(program.values)
    return names[: names.index(name)]


def test_weights_are_read_back_from_the_source() -> None:
    make, shape = NETWORKS["dense"]
    program = lower(coded(make().eval(), shape)[0])
    layer = program.steps[0].head
    assert isinstance(layer, Layer)
    _, plain = re.findall(r"int8_t w0\[\d+\] = \{([^}]*)\}", source_of(program).code)  # in vectors, and one by one
    table = np.array([int(it) for it in plain.split(",")]).reshape(30, 70)
    assert np.array_equal(table.T, layer.weight[:, :, 0, 0])
