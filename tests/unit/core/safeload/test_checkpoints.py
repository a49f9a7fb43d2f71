from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from modicum.core.safeload import load_torch
from modicum.errors import DataError, UnsafeFileError


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dictionary_comes_back_equal(tmp_path, zipped) -> None:
    state = {"state_dict": {"weight": torch.arange(6.0).reshape(2, 3)}, "epoch": 3}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found: Any = load_torch(tmp_path / "a.pt")
    assert found["epoch"] == 3
    assert torch.equal(found["state_dict"]["weight"], state["state_dict"]["weight"])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_calls_a_command_is_refused_and_does_not_run(tmp_path, command, sentinel, zipped) -> None:
    torch.save({"a": command}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeFileError, match=r"a\.pt may hold only tensors .* asks for posix\.system\. Ask its maker"):
        load_torch(tmp_path / "a.pt")
    assert not sentinel.exists()
    torch.load(tmp_path / "a.pt", weights_only=False)
    assert sentinel.exists(), "the file was not dangerous, so the test above shows nothing"


def test_another_class_is_refused_by_name(tmp_path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "a.pt")
    with pytest.raises(UnsafeFileError, match=r"asks for pathlib\.PosixPath"):
        load_torch(tmp_path / "a.pt")


def test_a_bomb_is_measured_uncompressed_before_it_is_read(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps(None, protocol=2))
        archive.writestr("a/data/0", bytes(5_000_000))
    with pytest.raises(UnsafeFileError, match=r"holds 5,000,.* bytes, and at most 1,000,000 are read"):
        load_torch(tmp_path / "a.pt", max_bytes=1_000_000)


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x05\x06" + bytes(18)])
def test_garbage_is_a_data_error(save_bytes, data) -> None:
    with pytest.raises(DataError, match=r"not a complete torch file .* Fetch the file again"):
        load_torch(save_bytes(data))


@pytest.mark.parametrize(("zipped", "step"), [(True, 101), (False, 3)])
def test_truncations_are_data_errors(tmp_path, save_bytes, zipped, step) -> None:
    torch.save({"weight": torch.ones(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "a.pt").read_bytes()
    for length in range(0, len(whole), step):
        with pytest.raises(DataError, match=r"not a complete torch file|asks for \w+"):
            load_torch(save_bytes(whole[:length]))


def test_a_missing_file_is_a_data_error(tmp_path) -> None:
    with pytest.raises(DataError, match="none is not a complete torch file"):
        load_torch(tmp_path / "none")


@pytest.mark.data("models/pytorch_resnet_cifar10")
def test_published_weights_are_read() -> None:
    from modicum.core import catalogue

    folder = catalogue.fetch("models/pytorch_resnet_cifar10")
    found: Any = load_torch(folder / "pretrained_models/resnet20-12fca82f.th")
    assert found["state_dict"]["module.conv1.weight"].shape == (16, 3, 3, 3)
