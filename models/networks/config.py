"""Configurations of networks in general: the default ones, and how a weights file and a training checkpoint store them."""

from typing import Any, Protocol

from torch import nn

from models.networks.correspondence_net import CorrespondenceConfig
from models.networks.n3net import N3NetConfig
from models.networks.n3unet import N3UNetConfig
from models.networks.noise_level_net import NoiseLevelConfig
from models.networks.upscaling_net import EarlyUpscalingConfig, UpscalingConfig

AnyConfig = N3NetConfig | N3UNetConfig | NoiseLevelConfig | UpscalingConfig | EarlyUpscalingConfig | CorrespondenceConfig


class NetworkConfig(Protocol):
    """The geometry of a network."""

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB, 0 for a network that sees no image."""

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain values."""

    def build(self) -> nn.Module:
        """Return a network of this geometry with fresh weights.

        Callers call it as `network(noisy, sigma)`, a network for super-resolution as `network(noisy, sigma, factor)`, and a
        `NoiseLevelNet` as `network(noisy)`. A `CorrespondenceNet` is called as `network(matches)`.
        """


DEFAULT_CONFIGS: dict[str, AnyConfig] = {
    "n3net": N3NetConfig(),
    "n3unet": N3UNetConfig(),
    "n3unet-color": N3UNetConfig(channels=3),
    "photo": N3UNetConfig(channels=3, noise_planes=2),
    "noise-level": NoiseLevelConfig(),
    "upscale": UpscalingConfig(features=96, position="none"),  # an N3 block costs time and gains nothing here, see decision 17
    "upscale-early": EarlyUpscalingConfig(),
    "dncnn": N3NetConfig(blocks=0, depth=17, features=48),
}
"""The networks that can be trained, by name, with their default geometry. The shipped n3unet, n3unet-color, photo and noise-level
are wider. The depth of dncnn is that of Zhang et al. (2017)."""

STORED_NAMES: dict[str, type[AnyConfig]] = {
    "n3net": N3NetConfig,
    "n3unet": N3UNetConfig,
    "noise-level": NoiseLevelConfig,
    "upscale": UpscalingConfig,
    "upscale-early": EarlyUpscalingConfig,
    "correspondences": CorrespondenceConfig,
}
"""Values of "network" in a stored configuration. Without this key, a stored configuration is an N3Net's."""


def store_config(config: NetworkConfig) -> dict[str, Any]:
    """Return a configuration as plain values, which `parse_config` can read."""
    name = next(name for name, kind in STORED_NAMES.items() if type(config) is kind)
    return config.asdict() if name == "n3net" else {"network": name, **config.asdict()}


def parse_config(values: dict[str, Any]) -> AnyConfig:
    """Make a configuration from the values that `store_config` returned.

    Raises:
        ValueError: If the network or a field is unknown, or a value is invalid.
    """
    name = values.get("network", "n3net")
    if name not in STORED_NAMES:
        raise ValueError(f"unknown network {name!r}; known networks: {', '.join(STORED_NAMES)}")
    return STORED_NAMES[name].parse({key: value for key, value in values.items() if key != "network"})
