"""The job that enlarges a picture by 2, 3 or 4."""

from dataclasses import dataclass, replace

from models.model_info import ModelInfo
from service import version
from service.denoising.job import OutputOptions, PictureJob, Stage, untimed
from service.denoising.photographs import ModelChoice
from service.denoising.pipeline import DenoisingOptions, Pass
from service.denoising.quality import Quality
from service.denoising.upscaling import (
    UpscaledPicture,
    UpscalingOptions,
    checked_reference,
    compare_enlarged,
    count_enlarging_passes,
    enlarge_estimated,
    enlarge_picture,
)
from service.errors import TooManyPixels
from service.imaging import codec, metadata
from service.imaging.picture import DecodeLimits, Format, Header, Picture, Plane


@dataclass(frozen=True, slots=True)
class UpscalingResult:
    """What an `UpscalingJob` returns.

    Attributes:
        file: The encoded picture.
        file_format: Its format.
        upscaled: The picture before encoding, and how it was enlarged.
        model: The model that enlarged it.
        quality: Its quality, if there was a reference; `noisy` has the figures of the bicubic enlargement.
    """

    file: bytes
    file_format: Format
    upscaled: UpscaledPicture
    model: ModelInfo
    quality: Quality | None = None

    @property
    def picture(self) -> Picture:
        """The picture before encoding."""
        return self.upscaled.picture


class UpscalingJob(PictureJob[UpscaledPicture]):
    """Enlarge a picture, and measure the result against a reference if there is one. Making the job reads the headers only."""

    def __init__(
        self,
        image: bytes,
        reference: bytes | None,
        model: ModelInfo,
        upscaling: UpscalingOptions,
        output: OutputOptions,
        limits: DecodeLimits,
        stage: Stage = untimed,
        photo: ModelInfo | None = None,
    ) -> None:
        """Read the headers.

        Args:
            image: The image file.
            reference: A file of the enlarged image to compare with, or None.
            model: The model that will run the passes.
            upscaling: How to enlarge.
            output: What to write.
            limits: What to accept. The limit on pixels applies to the enlarged image.
            stage: Times parts of the job.
            photo: The model whose network estimates the noise if sigma is not given; None to estimate it from patches.

        Raises:
            ServiceError: If a file is refused by its header, or the enlarged image has too many pixels.
        """
        super().__init__(image, reference, output, limits, stage)
        self.model, self._upscaling = model, upscaling
        self._choice = ModelChoice(model, photo, automatic=False) if photo else None
        enlarged = enlarged_header(self.header, upscaling.factor)
        if enlarged.counted_pixels > limits.pixels:
            raise TooManyPixels(
                f"The enlarged image would have {enlarged.width} x {enlarged.height} pixels, which count as "
                f"{enlarged.counted_pixels}; the limit is {limits.pixels} pixels.",
                limit_pixels=limits.pixels,
            )
        self.passes = count_enlarging_passes(self.header, upscaling)
        self.network_pixels = self.passes * model.network_pixels(self.header.height, self.header.width)
        headers = [self.header, enlarged, *([self._reference_file.header] if self._reference_file else [])]
        self.held_pixels = sum(header.counted_pixels for header in headers)

    def start(self) -> Pass | None:
        """Decode the files, and return the first pass of the network.

        Raises:
            ServiceError: If a file cannot be decoded, the reference does not match, the output format cannot hold the result, or
                sigma is out of range.
        """
        picture, factor = self._image.decode(), self._upscaling.factor
        file_format, _ = codec.output_form(picture, self.output.file_format, self.output.depth)
        codec.check_size(file_format, factor * picture.width, factor * picture.height)
        if self._reference_file:
            self._reference = checked_reference(self._reference_file.decode(), picture, factor)
        with self._runner.stage("treat"):
            if self._choice and self._choice.estimates(picture, DenoisingOptions(self._upscaling.sigma)):
                return self._runner.begin(enlarge_estimated(picture, self._upscaling, self._choice))
            return self._runner.begin(enlarge_picture(picture, self._upscaling, self.model.sigma_range))

    def finish(self, denoised: Plane | None) -> UpscalingResult:
        """Take the last enlarged plane, encode the picture with its metadata, and measure it."""
        result = self._runner.end(denoised)
        software = metadata.software_text(
            version(), self.model.name, result.sigma, self.model.weights_sha256, factor=result.factor
        )
        kept = metadata.prepared(result.picture.metadata, self.output.metadata, software)
        result = replace(result, picture=replace(result.picture, metadata=kept))
        file = codec.encode(result.picture, self.output.file_format, self.output.depth)
        quality = None
        if self._reference:
            with self._runner.stage("metric"):
                quality = compare_enlarged(result, codec.decode(file, self._limits), self._reference)
        return UpscalingResult(file, self.output.file_format or result.picture.format, result, self.model, quality)


def enlarged_header(header: Header, factor: int) -> Header:
    """Return the header of a picture that is enlarged by a factor."""
    return replace(header, width=factor * header.width, height=factor * header.height)
