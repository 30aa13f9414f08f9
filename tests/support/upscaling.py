"""A server whose model that enlarges pictures has random weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.methods import load_upscaler
from models.weights.files import save_weights
from service.engine import backend
from tests.support.live import Live, live, settings_for
from tests.support.networks import random_upscaling_net


@contextmanager
def upscaling_service(weights: Path, upscaling_weights: Path, **settings: Any) -> Iterator[Live]:
    """Run a server with the weights of n3net and of the model that enlarges pictures until the context ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "has_upscaler", lambda: True)
        patch.setattr(backend, "load_upscaler", partial(load_upscaler, weights=upscaling_weights))
        with live(settings_for(weights, **settings)) as running:
            yield running


def random_upscaling_weights(folder: Path) -> Path:
    """Write a weights file with random weights into a folder, and return its path."""
    random, path = random_upscaling_net(1), folder / "upscaling.safetensors"
    save_weights(path, random.config, random.state, (0, 25), {"data": "none"})
    return path
