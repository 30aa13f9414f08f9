"""Tests of the choice of the device and of the data type."""

import pytest
import torch

from models.inference.device import choose_device, choose_dtype

CPU = torch.device("cpu")


def test_devices() -> None:
    device, reason = choose_device("auto")
    assert (device.type == "cuda") == torch.cuda.is_available()
    assert (reason is None) == torch.cuda.is_available()
    assert choose_device("cpu") == (CPU, None)
    for wrong in ("tpu9", "cuda:99", "meta"):
        with pytest.raises(ValueError, match="device"):
            choose_device(wrong)


def test_dtypes() -> None:
    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == torch.float16
    with pytest.raises(ValueError, match="dtype"):
        choose_dtype("int8", CPU)  # type: ignore[arg-type]
