"""The job that adds noise to a clean picture, denoises it, and measures both: one row of the paper's table."""

from dataclasses import dataclass, replace

from models.images.noise import noisy_planes
from models.model_info import ModelInfo
from service.denoising.estimation import check_sigma
from service.denoising.job import PassRunner, Stage, untimed
from service.denoising.pipeline import DenoisedPicture, DenoisingOptions, Pass, count_passes, denoise_picture
from service.denoising.quality import Figures, figures
from service.imaging import codec
from service.imaging.picture import DecodeLimits, Metadata, Picture, Plane


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What an `EvaluationJob` returns: three pictures of one size, and their figures before rounding and clipping.

    Attributes:
        clean: The input.
        noisy: The input with noise added.
        denoised: The noisy picture after denoising.
        before: Figures of `noisy` against `clean`.
        after: Figures of `denoised` against `clean`.
    """

    clean: Picture
    noisy: Picture
    denoised: Picture
    before: Figures
    after: Figures


class EvaluationJob:
    """Add noise to a clean picture, denoise it, and measure both: one row of the paper's table.

    The denoiser is told the sigma of the noise that was added. Making the job reads the header only.
    """

    def __init__(
        self,
        image: bytes,
        model: ModelInfo,
        denoising: DenoisingOptions,
        seed: int,
        limits: DecodeLimits,
        stage: Stage = untimed,
    ) -> None:
        """Read the header.

        Args:
            image: The clean image file.
            model: The model that will run the passes.
            denoising: How to denoise; its sigma is that of the noise to add and must be given.
            seed: Seed of the noise.
            limits: What to accept.
            stage: Times parts of the job.

        Raises:
            SigmaOutOfRange: If the model was not trained for sigma.
            ServiceError: If the file is refused by its header.
        """
        assert denoising.sigma is not None
        check_sigma(denoising.sigma, model.sigma_range)
        self._image = codec.open_image(image, limits)
        self._denoising, self._sigma, self._seed = denoising, denoising.sigma, seed
        self._runner = PassRunner[DenoisedPicture](stage)
        self._clean: Picture | None = None
        self.header = self._image.header
        self.model = model.serving(rgb=self.header.rgb and denoising.color == "rgb")
        self.passes = count_passes(self.header, denoising, joint=self.model.channels == 3)
        self.network_pixels = self.passes * model.network_pixels(self.header.height, self.header.width)
        self.held_pixels = 3 * self.header.counted_pixels  # clean, noisy, denoised

    def start(self) -> Pass | None:
        """Decode the picture, add the noise, and return the first pass of the network.

        Raises:
            ServiceError: If the file cannot be decoded, or its channels do not fit into a PNG.
        """
        picture = self._image.decode()
        picture = codec.to_gray(picture) if self._denoising.color == "gray" else picture
        # The result is a picture of pictures, which has no alpha and no metadata of its own.
        self._clean = replace(picture, alpha=None, metadata=Metadata(), format="png")
        codec.output_form(self._clean, "png", "8")
        codec.check_size("png", 3 * self._clean.width, self._clean.height)  # the image response shows three side by side
        with self._runner.stage("treat"):
            noisy = replace(self._clean, planes=noisy_planes(self._clean.planes, self._sigma / 255, self._seed))
            joint = self.model.channels == 3
            return self._runner.begin(denoise_picture(noisy, self._denoising, self.model.sigma_range, joint=joint))

    def estimated(self, levels: Plane) -> Pass | None:
        """Never called, because sigma is known."""
        raise AssertionError(levels.shape)

    def resume(self, denoised: Plane) -> Pass:
        """Take the denoised plane of a pass that is not the last and return the next pass."""
        return self._runner.resume(denoised)

    def finish(self, denoised: Plane | None) -> EvaluationResult:
        """Take the last denoised plane and measure the noisy and the denoised picture."""
        assert self._clean is not None
        result = self._runner.end(denoised)
        with self._runner.stage("metric"):
            before = figures(result.noisy.planes, self._clean.planes)
            after = figures(result.picture.planes, self._clean.planes)
        return EvaluationResult(self._clean, result.noisy, result.picture, before, after)
