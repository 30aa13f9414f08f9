"""Import of the checkpoints that the authors of N3Net publish, each trained for one noise level."""

import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from models.networks.n3net import N3Net, N3NetConfig
from models.weights.files import Weights, WeightsError, without_denormals

_RENAMES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"blocks\.(\d)\.conv1\.(\w+)"), lambda m: f"dncnns.{m[1]}.0.{m[2]}"),
    (re.compile(r"blocks\.(\d)\.layer1\.(\d+)\.(\w+)"), lambda m: f"dncnns.{m[1]}.{int(m[2]) + 2}.{m[3]}"),
    (re.compile(r"blocks\.(\d)\.conv2\.(\w+)"), lambda m: f"dncnns.{m[1]}.14.{m[2]}"),
    (re.compile(r"nls\.(\d)\.embedcnn\.(\d)\.(\w+)"), lambda m: f"blocks.{m[1]}.embed.{m[2]}.{m[3]}"),
    (re.compile(r"nls\.(\d)\.tempcnn\.(\d)\.(\w+)"), lambda m: f"blocks.{m[1]}.temperature.{m[2]}.{m[3]}"),
    (re.compile(r"nls\.(\d)\.n3aggregation\.aggregation\.nnn\.bn\.(\w+)"), lambda m: f"blocks.{m[1]}.distance_norm.{m[2]}"),
)
"""Patterns of the authors' keys, and the key in `N3Net` for each match."""
_UNUSED = re.compile(r"blocks\.\d\.bn1\.\w+")  # in their files, but their network never uses it

# What torch.load raises for bytes that are no checkpoint depends on these bytes.
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def import_checkpoint(path: str | Path, sigma: float) -> Weights:
    """Read a checkpoint of the authors, such as `051_ckpt.t7`.

    Args:
        path: A torch pickle of {"net": state dict, "epoch": number}. Nothing but tensors and plain values is unpickled.
        sigma: The noise level that it was trained for, on the 0-255 scale.

    Returns:
        The weights, with an empty digest.

    Raises:
        WeightsError: If the file does not exist or is not such a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file {path}") from error
    except _UNREADABLE as error:
        raise WeightsError(f"{path} is not a torch checkpoint") from error
    net = content.get("net") if isinstance(content, dict) else None
    if not isinstance(net, dict) or not all(isinstance(value, Tensor) for value in net.values()):
        raise WeightsError(f"{path} is a torch file, but not an N3Net checkpoint: it has no state dict under 'net'")
    config = N3NetConfig(sigma_plane=False, relaxation="code", temperature_bound=None)
    state = translate(net, config, str(path))
    epoch = content.get("epoch")
    facts = {"origin": "a checkpoint of the authors; not to be redistributed", "epoch": str(epoch)}
    return Weights(Path(path).stem, config, (sigma, sigma), facts, "", state)


def translate(net: Mapping[str, Tensor], config: N3NetConfig, source: str) -> dict[str, Tensor]:
    """Translate a state dict with the authors' keys into one of `N3Net`, with denormal values set to zero.

    Args:
        net: The authors' state dict.
        config: The configuration of the `N3Net`.
        source: The name of the file, for error messages.

    Raises:
        WeightsError: If a key is missing or unknown, or a tensor has a wrong shape or values that are not finite.
    """
    wanted = N3Net(config).state_dict()
    state = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}  # not in the authors' files
    for key, tensor in net.items():
        matches = ((pattern.fullmatch(key), rename) for pattern, rename in _RENAMES)
        names = [rename(match) for match, rename in matches if match]
        if names and names[0] in wanted and wanted[names[0]].shape == tensor.shape:
            state[names[0]] = without_denormals(tensor.float())
        elif not _UNUSED.fullmatch(key) and not key.endswith("num_batches_tracked"):
            raise WeightsError(f"{source} is not an N3Net checkpoint of the published geometry: {key} {tuple(tensor.shape)}")
    if missing := sorted(set(wanted) - set(state)):
        raise WeightsError(f"{source} is not an N3Net checkpoint of the published geometry: it has no {missing[0]}")
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise WeightsError(f"{source} holds values that are not finite")
    return state
