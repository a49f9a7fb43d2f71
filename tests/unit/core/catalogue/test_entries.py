from __future__ import annotations

import re

import pytest

from modicum.core import catalogue
from modicum.core.catalogue import Archive
from modicum.errors import ConfigError

METHODS = {"nsgd", "hype", "gotuning", "xpudu", "seqdiffuseq", "cubemlp", "fghv", "peerpl", "gprmgk", "rapq"}
ENTRIES = [catalogue.describe(name) for name in catalogue.names()]


def test_names_are_sorted_and_complete() -> None:
    assert list(catalogue.names()) == sorted(catalogue.names())
    assert len(catalogue.names()) == 31
    assert {method for entry in ENTRIES for method in entry.methods} == METHODS


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("cifar10", r"Did you mean cifar10-jpeg or models/pytorch_resnet_cifar10\?"),
        ("RTE", r"Did you mean glue-small/RTE or zero-shot/rte\?"),
        ("glue/CoLA", r"Did you mean glue-small/CoLA"),
        ("nothing like it at all", "See modicum data list for the names"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest_ones(typed, hint) -> None:
    with pytest.raises(ConfigError, match=rf"The catalogue has no data set '{typed}'\. {hint}"):
        catalogue.describe(typed)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_address_is_pinned_to_the_commit_of_an_origin(entry) -> None:
    versions = {origin.version for origin in entry.origins}
    files = [
        *entry.files,
        *(file for pack in entry.packs if not isinstance(pack.public, Archive) for file in pack.public),
    ]
    archives = [pack.public for pack in entry.packs if isinstance(pack.public, Archive)]
    for address in [it.address for it in (*files, *archives) if it.address is not None]:
        assert re.match(r"https://(raw\.githubusercontent|github)\.com/[!-~]+$", address)
        assert any(version in address for version in versions)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_file_has_a_checksum_a_size_and_a_path_of_its_own(entry) -> None:
    items = [*entry.files, *entry.packs]
    assert items
    assert all(re.fullmatch("[0-9a-f]{64}", item.sha256) and item.size >= 0 for item in items)
    assert len({item.path for item in items}) == len(items)
    assert not any(item.path.startswith("/") or ".." in item.path for item in items)


def test_an_address_with_blanks_is_quoted() -> None:
    addresses = [file.address for file in catalogue.describe("isarcasmeval").files if " " in file.path]
    assert addresses
    assert all("third-party%20annotations/" in address for address in addresses if address is not None)


def test_packs_of_one_data_set_share_no_path() -> None:
    entry = catalogue.describe("zero-shot/imdb")
    for path in ("train/pos/1_7.txt", "train/unsup/1_0.txt", "test/neg/1_3.txt"):
        assert sum(pack.holds(path) for pack in entry.packs) == 1
    assert not any(pack.holds("train/pos/0_9.txt") for pack in entry.packs), "the maker of the pack left it out"
