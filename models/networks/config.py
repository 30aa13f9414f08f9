"""What a weights file and the trainer know of any network: a configuration that can be stored, read and built."""

from typing import Any, Protocol

from torch import nn

from models.networks.n3net import N3NetConfig
from models.networks.n3unet import N3UNetConfig


class NetworkConfig(Protocol):
    """The geometry of a network, as plain values."""

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain values."""

    def build(self) -> nn.Module:
        """Return a network of this geometry with fresh weights, called as `network(noisy, sigma)`."""


NETWORKS: dict[str, type[N3NetConfig] | type[N3UNetConfig]] = {"n3net": N3NetConfig, "n3unet": N3UNetConfig}
"""Names that stored configurations carry under "network"; one without a name is an N3Net's."""


def store_config(config: NetworkConfig) -> dict[str, Any]:
    """Return a configuration as the plain values that `parse_config` reads."""
    name = next(name for name, kind in NETWORKS.items() if type(config) is kind)
    return config.asdict() if name == "n3net" else {"network": name, **config.asdict()}


def parse_config(values: dict[str, Any]) -> N3NetConfig | N3UNetConfig:
    """Make a configuration from what `store_config` returned.

    Raises:
        ValueError: If the network or a value is unknown, or a value is of another type or out of range.
    """
    name = values.get("network", "n3net")
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name].parse({key: value for key, value in values.items() if key != "network"})
