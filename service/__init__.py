"""The application around `models`: the HTTP service and the command line."""

from importlib import metadata


def version() -> str:
    """Return the version of the installed package, as pyproject.toml gives it."""
    return metadata.version("n3denoise")
