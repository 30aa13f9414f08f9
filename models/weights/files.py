"""Weights files: name → file, configuration, sigma range, training facts, and a digest that is verified at load.

A weights file is a safetensors file whose metadata holds, as JSON, the network's configuration, the noise levels it was trained
for and the facts of its training, and a SHA-256 over all of that and every tensor. A new file needs no code: put it beside the
others, or name its path.
"""

import contextlib
import hashlib
import json
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.networks.config import NetworkConfig, parse_config, store_config
from models.networks.n3net import N3Net, N3NetConfig

FORMAT = "n3denoise 1"
DEFAULT_NAME = "n3net"
FOLDER = Path(__file__).parent


class WeightsError(ValueError):
    """A weights file is missing, corrupt, or not one of ours."""


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Attributes:
        name: The shipped name, or the file name without its suffix.
        config: The network's configuration.
        sigma_range: Least and greatest noise level it was trained for, on the 0-255 scale.
        facts: How it was trained: data, steps, hardware, license and the like.
        sha256: Digest over configuration, sigma range, facts and tensors.
        state: The network's state dict, batch normalization not folded, float32.
    """

    name: str
    config: NetworkConfig
    sigma_range: tuple[float, float]
    facts: dict[str, str]
    sha256: str
    state: dict[str, Tensor]

    def network(self) -> nn.Module:
        """Return a network that holds these weights, in evaluation mode."""
        network = self.config.build()
        network.load_state_dict(self.state)
        return network.eval()


def weights_names() -> list[str]:
    """Return the names of the shipped weights."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def card(name: str) -> str | None:
    """Return the text of a shipped weights file's card, or None where it has none."""
    path = FOLDER / f"{DEFAULT_NAME if name == 'default' else name}.md"
    return path.read_text(encoding="utf-8") if path.parent == FOLDER and path.is_file() else None


def load_weights(name_or_path: str | Path = "default") -> Weights:
    """Read and verify weights.

    Args:
        name_or_path: "default", one of `weights_names()`, or the path of a file.

    Raises:
        WeightsError: If there is no such file, or it is corrupt, or not a weights file of this project.
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
    """Write a weights file; a file of that name stays whole until the new one replaces it.

    Args:
        path: Where to.
        config: The network's configuration.
        state: Its state dict.
        sigma_range: Noise levels it is meant for, on the 0-255 scale.
        facts: How it was trained.

    Returns:
        The SHA-256 that stands in the file.

    Raises:
        ValueError: If the state holds a number that is not finite.
    """
    tensors = {key: _flushed(tensor) for key, tensor in state.items()}
    if bad := [key for key, tensor in tensors.items() if not tensor.isfinite().all()]:
        raise ValueError(f"not finite, so not saved: {', '.join(bad)}")
    header = json.dumps({"config": store_config(config), "sigma_range": list(sigma_range), "facts": dict(facts)}, sort_keys=True)
    sha256 = _digest(header, tensors)
    path = Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(tensors, temporary, {"format": FORMAT, "header": header, "sha256": sha256})
        os.chmod(temporary, 0o644)  # noqa: PTH101
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
        raise
    return sha256


def import_checkpoint(path: str | Path, sigma: float) -> Weights:
    """Read a checkpoint of the authors (`051_ckpt.t7`), which holds the network of one noise level.

    Args:
        path: A torch pickle of {"net": state dict, "epoch": number}; nothing but tensors is ever unpickled.
        sigma: The noise level it was trained for, on the 0-255 scale.

    Raises:
        WeightsError: If the file is missing or is not such a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no file {path}") from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is not a torch checkpoint") from error
    net = content.get("net") if isinstance(content, dict) else None
    if not isinstance(net, dict) or not all(isinstance(value, Tensor) for value in net.values()):
        raise WeightsError(f"{path} is a torch file, but not an N3Net checkpoint: it has no state dict under 'net'")
    config = N3NetConfig(sigma_plane=False, relaxation="code", temperature_bound=None)
    state = translate(net, config, str(path))
    epoch = content.get("epoch")
    facts = {"origin": "a checkpoint of the authors; not to be redistributed", "epoch": str(epoch)}
    return Weights(Path(path).stem, config, (sigma, sigma), facts, "", state)


_AUTHORS_NAMES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"blocks\.(\d)\.conv1\.(\w+)"), lambda m: f"dncnns.{m[1]}.0.{m[2]}"),
    (re.compile(r"blocks\.(\d)\.layer1\.(\d+)\.(\w+)"), lambda m: f"dncnns.{m[1]}.{int(m[2]) + 2}.{m[3]}"),
    (re.compile(r"blocks\.(\d)\.conv2\.(\w+)"), lambda m: f"dncnns.{m[1]}.14.{m[2]}"),
    (re.compile(r"nls\.(\d)\.embedcnn\.(\d)\.(\w+)"), lambda m: f"blocks.{m[1]}.embed.{m[2]}.{m[3]}"),
    (re.compile(r"nls\.(\d)\.tempcnn\.(\d)\.(\w+)"), lambda m: f"blocks.{m[1]}.temperature.{m[2]}.{m[3]}"),
    (re.compile(r"nls\.(\d)\.n3aggregation\.aggregation\.nnn\.bn\.(\w+)"), lambda m: f"blocks.{m[1]}.distance_norm.{m[2]}"),
)
_AUTHORS_UNUSED = re.compile(r"blocks\.\d\.bn1\.\w+")


def translate(net: Mapping[str, Tensor], config: N3NetConfig, source: str) -> dict[str, Tensor]:
    """Turn a state dict with the authors' key names into one of `N3Net`, denormal values flushed to zero.

    Raises:
        WeightsError: If a key is missing or unknown, or a tensor has another shape or values that are not finite.
    """
    wanted = N3Net(config).state_dict()
    state = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}  # the authors have none
    for key, tensor in net.items():
        matches = ((pattern.fullmatch(key), rename) for pattern, rename in _AUTHORS_NAMES)
        names = [rename(match) for match, rename in matches if match]
        if names and names[0] in wanted and wanted[names[0]].shape == tensor.shape:
            state[names[0]] = _flushed(tensor.float())
        elif not _AUTHORS_UNUSED.fullmatch(key) and not key.endswith("num_batches_tracked"):
            raise WeightsError(f"{source} is not an N3Net checkpoint of the published geometry: {key} {tuple(tensor.shape)}")
    if missing := sorted(set(wanted) - set(state)):
        raise WeightsError(f"{source} is not an N3Net checkpoint of the published geometry: it has no {missing[0]}")
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise WeightsError(f"{source} holds values that are not finite")
    return state


def _flushed(tensor: Tensor) -> Tensor:
    """Return a contiguous copy in which denormal numbers, which slow every multiplication, are zero."""
    tensor = tensor.detach().cpu().contiguous().clone()
    if tensor.is_floating_point():
        tensor[tensor.abs() < torch.finfo(tensor.dtype).tiny] = 0
    return tensor


def _digest(header: str, state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(header.encode())
    for key in sorted(state):
        tensor = state[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_sigma(sigma: float, sigma_range: tuple[float, float]) -> None:
    """Raise a ValueError, naming the range, when sigma (0-255 scale) is not in it."""
    lowest, highest = sigma_range
    rounding = 1e-4  # a sigma that went through float32 is still in range
    if not lowest - rounding <= sigma <= highest + rounding:
        raise ValueError(f"sigma must lie between {lowest:g} and {highest:g}, but is {sigma:g}")
