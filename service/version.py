"""The version of the installed package."""

from importlib import metadata


def version() -> str:
    """The version, as in pyproject.toml."""
    return metadata.version("n3denoise")
