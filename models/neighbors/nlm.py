"""Non-local means (Buades, Coll & Morel 2005) with the interface of the networks, computed by scikit-image."""

from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from models import machine
from models.images.noise import check_sigma
from models.model_info import ModelInfo
from models.steps import run_through

SIGMA_RANGE = (1.0, 100.0)
"""Lowest and highest noise level on the 0-255 scale."""
PATCH = 5
"""Pixels along each side of the patches that are compared."""
REACH = 6
"""Pixels searched in each direction."""
STRENGTH = 0.8
"""h = 0.8 sigma, which the documentation of scikit-image recommends for its fast mode with a known sigma."""
STRIP = 128
"""Rows of a strip; one step computes one strip."""


class NonLocalMeans:
    """Replace each pixel by an average of the pixels whose surrounding patches are similar. It has no weights and uses one core.

    The parameters are those that scikit-image documents for its fast mode: patches of 5x5 pixels within 13x13 pixels, h = 0.8
    sigma, and the expected contribution of the noise subtracted from the patch distances.
    """

    can_shrink = False  # the strips are small and of fixed height

    @property
    def info(self) -> ModelInfo:
        """Facts about the method and its device."""
        return ModelInfo(
            name="nlm",
            weights=None,
            weights_sha256=None,
            facts={},
            sigma_range=SIGMA_RANGE,
            device="cpu",
            device_name=machine.cpu_name(),
            dtype="float32",
            fallback_reason=None,
        )

    def steps(self, noisy: Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, Tensor]:  # noqa: ARG002
        """Denoise an image strip by strip, and yield the fraction done after each strip.

        Args:
            noisy: y, (H, W), in [0, 1] before noise was added.
            sigma: Noise standard deviation on the [0, 1] scale.
            shrink: Not used.

        Returns:
            A generator whose return value is the denoised image, (H, W) float32 on the CPU, not clipped. It does not depend on
            the strip height, except for rounding.

        Raises:
            ValueError: If the image has no pixels or a shape other than (H, W), or sigma is outside `SIGMA_RANGE`. The call
                itself raises it, not the first step.
        """
        if noisy.ndim != 2 or not noisy.numel():
            raise ValueError(f"an image must be a tensor (H, W) with at least one pixel, but has shape {tuple(noisy.shape)}")
        check_sigma(sigma * 255, SIGMA_RANGE)
        return self._steps(noisy, sigma)

    def _steps(self, noisy: Tensor, sigma: float) -> Generator[float, None, Tensor]:
        from skimage.restoration import denoise_nl_means  # slow to import

        image = noisy.detach().to("cpu", torch.float32).numpy()
        rows = len(image)
        halo = REACH + PATCH // 2
        denoised = np.empty_like(image)
        # Reflect the image at its borders here. The library's own padding then affects only rows and columns that are cropped.
        padded = np.pad(image, halo, mode="symmetric")
        for top in range(0, rows, STRIP):
            bottom = min(top + STRIP, rows)
            strip = padded[top : bottom + 2 * halo].astype(np.float64)
            result = denoise_nl_means(
                strip, patch_size=PATCH, patch_distance=REACH, h=STRENGTH * sigma, sigma=sigma, fast_mode=True
            )
            denoised[top:bottom] = result[halo:-halo, halo:-halo]
            yield bottom / rows
        return torch.from_numpy(denoised)

    def denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        """Return the denoised image, (H, W) float32 on the CPU; see `steps` for arguments and errors."""
        return run_through(self.steps(noisy, sigma))
