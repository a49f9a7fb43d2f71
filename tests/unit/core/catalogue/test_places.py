from __future__ import annotations

import pytest

from modicum.core import catalogue
from modicum.core.catalogue.store import places_from_environment
from modicum.errors import ConfigError


def test_both_folders_come_from_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("MODICUM_DATA", str(tmp_path))
    monkeypatch.setenv("MODICUM_CACHE", str(tmp_path / "cache"))
    places = places_from_environment()
    assert (places.data, places.cache) == (tmp_path, tmp_path / "cache")


def test_a_home_that_no_shell_has_filled_in_is(monkeypatch, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    for name, value in (("HOME", str(tmp_path)), ("MODICUM_DATA", "~/data"), ("MODICUM_CACHE", "~/cache")):
        monkeypatch.setenv(name, value)
    places = places_from_environment()
    assert (places.data, places.cache) == (tmp_path / "data", tmp_path / "cache")


@pytest.mark.parametrize("empty", [True, False])
def test_unset_and_empty_mean_no_data_folder_and_the_systems_cache(monkeypatch, empty) -> None:
    for name in ("MODICUM_DATA", "MODICUM_CACHE"):
        monkeypatch.delenv(name, raising=False)
        if empty:
            monkeypatch.setenv(name, "")
    places = places_from_environment()
    assert places.data is None
    assert places.cache.name == "modicum"


@pytest.mark.parametrize("kind", ["missing", "file"])
def test_a_data_folder_that_is_none_is_an_error(monkeypatch, tmp_path, kind) -> None:
    if kind == "file":
        (tmp_path / kind).write_bytes(b"")
    monkeypatch.setenv("MODICUM_DATA", str(tmp_path / kind))
    for call in (catalogue.fetch, catalogue.status, catalogue.verify):
        with pytest.raises(ConfigError, match=rf"MODICUM_DATA must name a folder, but it is '.*{kind}'\. Set it"):
            call("cogs")
