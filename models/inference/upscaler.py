"""A trained network that is ready to enlarge images of any size, in bounded memory."""

from collections.abc import Generator

import torch
from torch import Tensor, nn

from models.inference.cut_plan import Plan
from models.inference.n3unet_stream import fold_upscaling_net
from models.inference.noise_levels import UniformLevels
from models.inference.streamed_model import StreamedModel
from models.inference.strips import compute_strips
from models.inference.transfers import Enlargement
from models.networks.upscaling_net import UpscalingConfig, UpscalingNet, check_factor, factor_plane
from models.steps import run_through


class Upscaler(StreamedModel):
    """A network that enlarges gray images, on a device.

    Attributes:
        networks: For each factor, the network on the device, in the form for inference.
    """

    NAME = "upscale"
    WEIGHTS = "upscale"
    CONFIGS = (UpscalingConfig,)
    WORK = "enlarge images"

    def _fold(self, network: nn.Module) -> None:
        assert isinstance(network, UpscalingNet)
        self.networks = fold_upscaling_net(network, self.device, self.dtype)

    def upscale(self, noisy: Tensor, sigma: float, factor: int) -> Tensor:
        """Enlarge one image, and remove its noise.

        Args:
            noisy: (H, W), float32, in [0, 1] before noise was added; at least one pixel.
            sigma: Noise standard deviation on the [0, 1] scale; 0 for an image without noise.
            factor: One of `models.networks.upscaling_net.FACTORS`.

        Returns:
            (factor * H, factor * W), float32, on the CPU, not clipped.

        Raises:
            ValueError: If the image is not such a tensor, sigma is outside the range of the weights, or the factor is unknown.
        """
        return run_through(self.steps(noisy, sigma, factor))

    def steps(self, noisy: Tensor, sigma: float, factor: int, *, shrink: int = 1) -> Generator[float, None, Tensor]:
        """Enlarge one image strip by strip, so that a caller can interleave several images or stop.

        Args:
            noisy: See `upscale`.
            sigma: See `upscale`.
            factor: See `upscale`.
            shrink: Divisor of the strip size and of the memory budget.

        Returns:
            A generator that yields the fraction done after each part of a strip, rising to 1, and returns what `upscale` returns.

        Raises:
            ValueError: See `upscale`. The call itself raises it, not the first step.
        """
        self._check(noisy, sigma, factor)
        height, width = noisy.shape
        return self._steps(noisy, sigma, factor, self.plan(height, width, shrink))

    def _check(self, noisy: Tensor, sigma: float, factor: int) -> None:
        self._check_image(noisy)
        self._check_sigma(sigma)
        check_factor(factor)

    @torch.inference_mode()
    def _steps(self, noisy: Tensor, sigma: float, factor: int, plan: Plan) -> Generator[float, None, Tensor]:
        extended, top, left = self._extended(noisy)
        enlargement = Enlargement(noisy, extended, top, left, factor, self.device)
        told = UniformLevels((sigma, float(factor_plane(factor, noisy))), self.device)
        scale = self.footprint.scale
        yield from compute_strips(self.networks[factor], enlargement, extended.shape[-2] // scale, told, plan, scale)
        return enlargement.finish()
