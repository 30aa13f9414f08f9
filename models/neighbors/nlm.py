"""Non-local means (Buades, Coll & Morel 2005) through scikit-image, with the interface of the learned denoisers."""

import platform
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor

from models.images.noise import check_sigma
from models.model_info import ModelInfo
from models.steps import run_through

PATCH = 5  # pixels along a side of the compared patches
REACH = 6  # pixels searched each way
STRENGTH = 0.8  # h = 0.8 sigma: scikit-image's documented choice for its fast mode with a known sigma
STRIP = 128  # rows that one step computes


class NonLocalMeans:
    """Average pixels whose surroundings look alike; no weights, no training, one core.

    Parameters follow scikit-image's documented rule for the fast mode: 5x5 patches within 13x13 pixels, h = 0.8 sigma, and
    sigma itself taken off the patch distances.
    """

    name = "nlm"
    sigma_range = (1.0, 100.0)  # 0-255 scale
    can_shrink = False  # its strips are small and have one size

    @property
    def info(self) -> ModelInfo:
        """Facts about the method."""
        return ModelInfo(self.name, None, None, {}, self.sigma_range, "cpu", platform.processor() or "CPU", "float32", None)

    def steps(self, noisy: Tensor, sigma: float, *, shrink: int = 1) -> Generator[float, None, Tensor]:  # noqa: ARG002
        """Denoise strip after strip and yield the fraction done after each; the result is the generator's return value.

        Args:
            noisy: (H, W), range about [0, 1].
            sigma: Noise standard deviation on the [0, 1] scale, within `sigma_range`.
            shrink: Not used.

        Returns:
            (H, W) float32 on the CPU, not clipped; the same for any strip height up to rounding.

        Raises:
            ValueError: If the image is not such a tensor, or sigma is out of the range, at once and not at the first strip.
        """
        if noisy.ndim != 2 or not noisy.numel():
            raise ValueError(f"an image is a tensor (H, W) with pixels, not {tuple(noisy.shape)}")
        check_sigma(sigma * 255, self.sigma_range)
        return self._steps(noisy, sigma)

    def _steps(self, noisy: Tensor, sigma: float) -> Generator[float, None, Tensor]:
        from skimage.restoration import denoise_nl_means  # slow to import

        image = noisy.detach().to("cpu", torch.float32).numpy()
        rows = len(image)
        halo = REACH + PATCH // 2
        denoised = np.empty_like(image)
        # The image's own border is reflected by hand, so that only rows that are cropped away ever see the library's padding.
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
        """Return the denoised image (H, W); arguments and errors as in `steps`."""
        return run_through(self.steps(noisy, sigma))
