"""The self-test of the device: denoising a fixed noisy image must give the result stored for the weights in use."""

import base64
import json
from collections.abc import Callable
from importlib import resources

import numpy as np

from service.imaging.picture import Plane

SIGMA = 25 / 255
# Root mean square error against the stored float32 result. Half-precision convolutions stay about ten times below this limit;
# a wrong layer, a flipped sign or a broken driver goes far above it: the noise of the test image alone is 0.098.
TOLERANCE = 0.005
_STEP = 1 / 16384


def noisy_image() -> Plane:
    """Return the noisy image, (72, 88), about [0, 1]: ramps, an edge, a texture, and noise of sigma 25; identical everywhere."""
    y, x = np.mgrid[0:72, 0:88].astype(np.float64)
    clean = 0.25 + 0.4 * x / 88 + 0.15 * (y > 36) + 0.1 * np.sin(x / 2) * np.cos(y / 3)
    noise = np.random.RandomState(0).standard_normal(clean.shape)  # NumPy guarantees this stream, unlike newer generators'
    noisy: Plane = (clean + SIGMA * noise).astype(np.float32)
    return noisy


def stored_results() -> dict[str, str]:
    """Return the encoded results by the SHA-256 of the weights file."""
    results: dict[str, str] = json.loads(resources.files("service.engine").joinpath("golden.json").read_text())
    return results


def encode(result: Plane) -> str:
    """Encode a result as text, rounded to multiples of 1/16384."""
    return base64.b64encode(np.round(result / _STEP).astype("<i2").tobytes()).decode()


def decode(text: str) -> Plane:
    """Decode what `encode` returned."""
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(noisy_image().shape).astype(np.float32) * np.float32(_STEP)


def deviation(denoise: Callable[[Plane, float], Plane], golden: Plane) -> float:
    """Return the root mean square difference between a denoiser's result and the stored one; infinity if not finite.

    Args:
        denoise: Takes a noisy plane and sigma, both on the [0, 1] scale, and returns the denoised plane.
        golden: The stored result.
    """
    result = denoise(noisy_image(), SIGMA)
    if result.shape != golden.shape or not np.isfinite(result).all():
        return float("inf")
    return float(np.sqrt(np.mean((result.astype(np.float64) - golden) ** 2)))
