"""The job that denoises a picture."""

from dataclasses import dataclass, replace

from models.model_info import ModelInfo
from service import version
from service.denoising.blending import matching_mask
from service.denoising.job import OutputOptions, PictureJob, Stage, untimed
from service.denoising.photographs import ModelChoice, denoise_estimated
from service.denoising.photon_counts import PhotonOptions, denoise_photon_counts
from service.denoising.pipeline import (
    DenoisedPicture,
    DenoisingOptions,
    Pass,
    count_passes,
    denoise_picture,
)
from service.denoising.quality import Quality, compare, matching_reference
from service.imaging import codec, metadata
from service.imaging.picture import DecodeLimits, Format, Picture, Plane


@dataclass(frozen=True, slots=True)
class DenoisingResult:
    """What a `DenoisingJob` returns.

    Attributes:
        file: The encoded picture.
        file_format: Its format.
        denoised: The picture before encoding, and how it was denoised.
        model: The model that denoised it, with the facts about the network that did.
        quality: Its quality, if there was a reference.
    """

    file: bytes
    file_format: Format
    denoised: DenoisedPicture
    model: ModelInfo
    quality: Quality | None = None

    @property
    def picture(self) -> Picture:
        """The picture before encoding."""
        return self.denoised.picture


class DenoisingJob(PictureJob[DenoisedPicture]):
    """Denoise a picture, and measure the result against a reference if there is one.

    Making the job reads the headers only, so that a server can decide about it before anything is decoded.
    """

    def __init__(
        self,
        image: bytes,
        reference: bytes | None,
        model: ModelInfo,
        denoising: DenoisingOptions,
        output: OutputOptions,
        limits: DecodeLimits,
        stage: Stage = untimed,
        photo: ModelInfo | None = None,
        *,
        automatic: bool = False,
        mask: bytes | None = None,
        photons: PhotonOptions | None = None,
    ) -> None:
        """Read the headers.

        Args:
            image: The image file.
            reference: A clean image file to compare with, or None.
            model: The model that will run the passes.
            denoising: How to denoise.
            output: What to write.
            limits: What to accept.
            stage: Times parts of the job.
            photo: The model whose network estimates the noise if sigma is not given; None to estimate it from patches.
            automatic: Whether this model also denoises if the noise is not white.
            mask: An image file that says where to denoise, or None to denoise everywhere.
            photons: What is known about photon noise; None for other noise.

        Raises:
            ServiceError: If a file is refused by its header.
        """
        super().__init__(image, reference, output, limits, stage)
        self._mask_file = codec.open_image(mask, limits) if mask else None
        self._denoising, self._photons = denoising, photons
        self._asked, self._choice = model, ModelChoice(model, photo, automatic) if photo else None
        self.model = model.serving(rgb=self.header.rgb and denoising.color == "rgb")
        self.passes = count_passes(self.header, denoising, joint=self.model.channels == 3)
        self.network_pixels = self.passes * model.network_pixels(self.header.height, self.header.width)
        files = [file for file in (self._image, self._reference_file, self._mask_file) if file]
        self.held_pixels = sum(file.header.counted_pixels for file in files)

    def start(self) -> Pass | None:
        """Decode the files, and return the first pass of the network, or None if it needs none.

        Raises:
            ServiceError: If a file cannot be decoded, the reference or the mask does not match, the output format cannot hold the
                result, or sigma is out of range.
        """
        picture = self._image.decode()
        picture = codec.to_gray(picture) if self._denoising.color == "gray" else picture
        codec.output_form(picture, self.output.file_format, self.output.depth)  # refuse now what could not be encoded later
        if self._reference_file:
            self._reference = matching_reference(self._reference_file.decode(), picture)
        denoising = self._denoising
        if self._mask_file:
            mask = matching_mask(self._mask_file.decode(), picture)
            denoising = replace(denoising, blend=replace(denoising.blend, mask=mask))
        with self._runner.stage("treat"):
            if self._photons:
                return self._runner.begin(denoise_photon_counts(picture, denoising, self._photons, self.model.sigma_range))
            if self._choice and self._choice.estimates(picture, denoising):
                return self._runner.begin(denoise_estimated(picture, denoising, self._choice))
            joint = self.model.channels == 3
            return self._runner.begin(denoise_picture(picture, denoising, self.model.sigma_range, joint=joint))

    def finish(self, denoised: Plane | None) -> DenoisingResult:
        """Take the last denoised plane, encode the picture with its metadata, and measure it."""
        result = self._runner.end(denoised)
        used = self._choice.photo if result.model and self._choice else self._asked
        model = used.serving(rgb=result.noisy.colored)
        software = metadata.software_text(version(), model.name, result.sigma, model.weights_sha256)
        kept = metadata.prepared(result.picture.metadata, self.output.metadata, software)
        result = replace(result, picture=replace(result.picture, metadata=kept))
        file = codec.encode(result.picture, self.output.file_format, self.output.depth)
        quality = None
        if self._reference:
            with self._runner.stage("metric"):
                quality = compare(result, codec.decode(file, self._limits), self._reference)
        return DenoisingResult(file, self.output.file_format or result.picture.format, result, model, quality)
