"""The device that a network runs on, the data type of its convolutions, and the memory that inference may use there."""

from typing import Literal

import torch

from models import machine

DType = Literal["auto", "float32", "bfloat16", "float16"]


def choose_device(device: str) -> tuple[torch.device, str | None]:
    """Return the device to use, and why "auto" chose the CPU, or None if it did not.

    Args:
        device: "auto" for a GPU if torch sees one, else the CPU; or a torch device such as "cpu" or "cuda:1".

    Raises:
        ValueError: If the device is unknown or does not exist.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), None
        reason = "this build of torch has no CUDA support" if torch.version.cuda is None else "torch sees no CUDA device"
        return torch.device("cpu"), reason
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {device!r}: torch sees {torch.cuda.device_count()} CUDA devices")
    if chosen.type not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r} is neither a CPU nor a CUDA device")
    return chosen, None


def device_name(device: torch.device) -> str:
    """Return the name of a GPU or of the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine.cpu_name()


def choose_dtype(dtype: DType, device: torch.device) -> torch.dtype:
    """Return the data type of the convolutions.

    "auto" is bfloat16 on a CPU that multiplies it faster than float32, and float32 on other CPUs. On a GPU it is float16, which
    is as fast as bfloat16 and has more digits.

    Raises:
        ValueError: If the name is unknown.
    """
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype != "auto":
        if dtype not in names:
            raise ValueError(f"dtype must be auto, {', '.join(names)}, not {dtype!r}")
        return names[dtype]
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if machine.has_fast_bfloat16() else torch.float32


def default_budget(device: torch.device) -> int:
    """Return how many bytes inference may use: a quarter of the free memory, but at most 4 GiB on a GPU.

    On a CPU it is at least 256 MiB and at most 1 GiB.
    """
    if device.type == "cuda":
        return min(4 << 30, torch.cuda.mem_get_info(device)[0] // 4)
    return max(256 << 20, min(1 << 30, machine.free_memory() // 4))
