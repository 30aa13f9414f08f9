"""Weights files: found by name or path, verified when loaded, written atomically.

A weights file is a safetensors file. Its metadata holds, as JSON, the network's configuration, the noise levels that it was
trained for and facts about its training, and a SHA-256 digest of these and of every tensor. To add weights, put a file into
this folder or pass its path; no code changes.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.atomic_write import atomic_write
from models.networks.config import NetworkConfig, parse_config, store_config

FORMAT = "n3denoise 1"
DEFAULT_NAME = "n3unet"
FOLDER = Path(__file__).parent


class WeightsError(ValueError):
    """A weights file is missing, corrupt, or not in the project's format."""


@dataclass(frozen=True)
class Weights:
    """The contents of a weights file.

    Attributes:
        name: The name of shipped weights, or the file name without its suffix.
        config: The network's configuration.
        sigma_range: Lowest and highest noise level that the network was trained for, on the 0-255 scale.
        facts: How it was trained: data, steps, hardware, license and so on.
        sha256: Digest of the configuration, the sigma range, the facts and the tensors.
        state: The network's state dict, float32 also if the file holds float16, with batch normalization as separate layers.
    """

    name: str
    config: NetworkConfig
    sigma_range: tuple[float, float]
    facts: dict[str, str]
    sha256: str
    state: dict[str, Tensor]

    def network(self) -> nn.Module:
        """Return a network with these weights, in evaluation mode."""
        network = self.config.build()
        network.load_state_dict(self.state)
        return network.eval()


def weights_names() -> list[str]:
    """Return the names of the shipped weights."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def load_weights(name_or_path: str | Path = "default") -> Weights:
    """Load and verify weights.

    Args:
        name_or_path: "default", one of `weights_names()`, or the path of a file.

    Raises:
        WeightsError: If the file does not exist, is corrupt, or is not in the project's format.
    """
    name = str(name_or_path)
    path = FOLDER / f"{DEFAULT_NAME if name == 'default' else name}.safetensors"
    if not (re.fullmatch(r"[\w.-]+", name) and path.is_file()):
        path = Path(name_or_path)
    if not path.is_file():
        raise WeightsError(f"there are no weights {name!r}: neither a file nor one of {', '.join(weights_names()) or 'none'}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{path} is a safetensors file, but not a weights file of n3denoise")
    try:
        header = json.loads(metadata["header"])
        config = parse_config(header["config"])
        lowest, highest = (float(bound) for bound in header["sigma_range"])
        facts = {str(key): str(value) for key, value in header["facts"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{path} has a damaged header: {error}") from error
    sha256 = _digest(metadata["header"], state)
    if metadata.get("sha256") != sha256:
        raise WeightsError(f"{path} is corrupt: its contents do not have the SHA-256 that it states")
    state = {key: value.float() if value.dtype == torch.float16 else value for key, value in state.items()}
    weights = Weights(path.stem, config, (lowest, highest), facts, sha256, state)
    try:
        weights.network()
    except RuntimeError as error:
        raise WeightsError(f"{path} does not hold the network that its header describes: {error}") from error
    return weights


def save_weights(
    path: str | Path,
    config: NetworkConfig,
    state: Mapping[str, Tensor],
    sigma_range: tuple[float, float],
    facts: Mapping[str, str],
) -> str:
    """Write a weights file; if anything fails, an existing file stays as it was.

    Args:
        path: The file to write.
        config: The network's configuration.
        state: Its state dict.
        sigma_range: Lowest and highest noise level that it was trained for, on the 0-255 scale.
        facts: How it was trained.

    Returns:
        The SHA-256 digest that the file states.

    Raises:
        ValueError: If a value in the state dict is not finite.
    """
    tensors = {key: without_denormals(tensor) for key, tensor in state.items()}
    if bad := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"not saved, because these tensors are not finite: {', '.join(bad)}")
    header = json.dumps({"config": store_config(config), "sigma_range": list(sigma_range), "facts": dict(facts)}, sort_keys=True)
    sha256 = _digest(header, tensors)
    with atomic_write(Path(path)) as part:
        save_file(tensors, part, {"format": FORMAT, "header": header, "sha256": sha256})
    return sha256


def without_denormals(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU with denormal numbers, which slow down every multiplication, set to zero.

    Those of float16 stay, because they are normal numbers in float32.
    """
    tensor = tensor.detach().cpu().contiguous().clone()
    if tensor.is_floating_point() and tensor.dtype != torch.float16:
        tensor[tensor.abs() < torch.finfo(tensor.dtype).tiny] = 0
    return tensor


def _digest(header: str, state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for key in sorted(state):
        tensor = state[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
