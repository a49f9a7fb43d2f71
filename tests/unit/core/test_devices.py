from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from modicum.core.devices import check_device
from modicum.errors import ConfigError


@pytest.mark.parametrize("device", ["gpu", "nonsense", "meta", "cuda:99", ""])
def test_a_device_that_torch_cannot_compute_on_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=rf"torch cannot use the device '{device}'"):
        check_device(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="torch cannot use the device 'cuda'"):
        check_device("cuda")


def test_the_cpu_is_there_and_costs_no_import_of_torch() -> None:
    code = "import sys, modicum.core.devices as it; it.check_device('cpu'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
