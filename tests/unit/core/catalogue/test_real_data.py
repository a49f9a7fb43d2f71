"""The catalogue against the real files, where MODICUM_DATA has them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modicum.core import catalogue
from modicum.core.catalogue import Archive

BIG = {"cifar10-jpeg", "zero-shot/imdb"}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))


def _each(names):
    return [pytest.param(name, marks=pytest.mark.data(name), id=name) for name in names]


@pytest.mark.parametrize("name", _each(catalogue.names()))
def test_every_file_is_the_published_one(name) -> None:
    assert {check.state for check in catalogue.verify(name)} == {"right"}


@pytest.mark.parametrize("name", _each(sorted(set(catalogue.names()) - BIG)))
def test_fetch_gives_every_file_and_every_member(name) -> None:
    entry = catalogue.describe(name)
    folder = catalogue.fetch(name)
    assert all((folder / file.path).stat().st_size == file.size for file in entry.files)
    for pack in entry.packs:
        found = [path for path in folder.rglob("*") if path.is_file() and pack.holds(str(path.relative_to(folder)))]
        assert len(found) == pack.count
        assert sum(path.stat().st_size for path in found) == pack.unpacked
        if not isinstance(pack.public, Archive):
            assert {str(path.relative_to(folder)) for path in found} == {file.path for file in pack.public}


@pytest.mark.slow
@pytest.mark.data("cifar10-jpeg")
def test_cifar10_unpacks_to_60_000_images() -> None:
    folder = catalogue.fetch("cifar10-jpeg")
    assert len(list(folder.glob("train/*/*.jpg"))) == 50_000
    assert len(list(folder.glob("test/*/*.jpg"))) == 10_000
    assert {check.state for check in catalogue.verify("cifar10-jpeg")} == {"right"}


@pytest.mark.slow
@pytest.mark.data("zero-shot/imdb")
def test_imdb_unpacks_to_its_reviews() -> None:
    folder = catalogue.fetch("zero-shot/imdb")
    count = {part: len(list(folder.glob(f"{part}/*.txt"))) for part in ("train/pos", "test/neg", "train/unsup")}
    assert count == {"train/pos": 12_498, "test/neg": 12_500, "train/unsup": 50_000}


@pytest.mark.slow
@pytest.mark.data(*catalogue.names())
def test_the_catalogue_is_what_its_tool_writes(tmp_path, monkeypatch) -> None:
    data = Path(os.environ["MODICUM_DATA"])
    if not (data / "MANIFEST.json").is_file():
        pytest.skip("MODICUM_DATA has no MANIFEST.json")
    tool = Path(__file__).parents[4] / "tools" / "make_catalogue.py"
    written = tmp_path / "catalogue.json"
    subprocess.run([sys.executable, str(tool), str(data / "MANIFEST.json"), str(data), str(written)], check=True)
    packaged = Path(catalogue.__file__).parent / "catalogue.json"
    assert written.read_bytes() == packaged.read_bytes()
