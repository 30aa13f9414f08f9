"""What all configurations of networks have in common: they are made from plain values, checked, and stored as plain values."""

from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class StoredConfig:
    """The geometry of a network."""

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Self:
        """Make a configuration from plain values, as `asdict` returns them.

        Raises:
            ValueError: If a name is unknown or a value is invalid.
        """
        if unknown := sorted(set(values) - set(cls.__dataclass_fields__)):
            raise ValueError(f"unknown configuration values: {', '.join(unknown)}")
        config = cls(**values)
        config.check()
        return config

    def asdict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    def check(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a value is invalid.
        """
