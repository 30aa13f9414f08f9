"""`n3denoise denoise`: denoise files, folders or standard input, without a service, on this machine or on a Ray cluster."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.options import (
    AutoModel,
    BitDepth,
    Device,
    Ensemble,
    FileFormat,
    Force,
    KeptMetadata,
    MemoryBudget,
    Output,
    Precision,
    Sources,
    Weights,
    given,
    in_bytes,
    number_or_auto,
)

if TYPE_CHECKING:
    from service.cli.denoiser import DenoiserOptions


def denoise(
    inputs: Sources,
    out: Output,
    sigma: Annotated[
        float,
        typer.Option(
            parser=number_or_auto, metavar="SIGMA", help="Standard deviation of the noise (0-255 scale), or auto to estimate it."
        ),
    ] = "auto",  # type: ignore[assignment]
    noise: Annotated[
        Literal["gaussian", "poisson"],
        typer.Option(
            help="Noise of the level --sigma (gaussian), or photon noise of gray images from microscopes and telescopes, with "
            "the variance gain x signal + read noise² (poisson)."
        ),
    ] = "gaussian",
    gain: Annotated[
        float,
        typer.Option(
            parser=number_or_auto, metavar="GAIN", help="For poisson: samples per photo-electron (0-255 scale), or auto."
        ),
    ] = "auto",  # type: ignore[assignment]
    read_noise: Annotated[
        float,
        typer.Option(
            parser=number_or_auto,
            metavar="SIGMA",
            help="For poisson: standard deviation of the noise without light (0-255 scale), or auto.",
        ),
    ] = "auto",  # type: ignore[assignment]
    color: Annotated[
        Literal["auto", "gray", "rgb"],
        typer.Option(
            help="Keep color pictures in color and gray pictures gray, even if a color file contains them (auto); "
            "convert everything to grayscale, as in the paper (gray); or keep color files in color (rgb)."
        ),
    ] = "auto",
    strength: Annotated[float, typer.Option(min=0, max=1, help="Blend of the input (0) and the denoised image (1).")] = 1.0,
    luma_strength: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Strength for luma.", show_default="that of --strength"),
    ] = None,
    chroma_strength: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Strength for color; gray images have none.", show_default="that of --strength"),
    ] = None,
    detail: Annotated[
        float,
        typer.Option(min=0, max=1, help="How much of the structure that was removed with the noise is given back."),
    ] = 0.0,
    mask: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Image of the same size that says where to denoise: black keeps the original, white denoises, and gray blends. "
            "For a single input only.",
        ),
    ] = None,
    ensemble: Ensemble = False,
    file_format: FileFormat = None,
    depth: BitDepth = None,
    metadata: KeptMetadata = "no-gps",
    force: Force = False,
    model: AutoModel = "auto",
    weights: Weights = "default",
    device: Device = "auto",
    dtype: Precision = "auto",
    memory_budget: MemoryBudget = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Denoise on a Ray cluster: its address, auto for the one that this machine belongs to, or local to start Ray on "
            "this machine. IN and OUT may then be URLs such as s3://bucket/folder. Sources whose results exist are skipped.",
        ),
    ] = None,
    ray_cores: Annotated[
        int, typer.Option(min=1, help="With --ray and without GPUs: cores for each picture that is denoised at the same time.")
    ] = 1,
) -> None:
    """Denoise image files, whole folders, or standard input; exit with code 1 if any image failed."""
    from service.cli.denoiser import DenoiserOptions
    from service.cli.process import Target, process, several
    from service.denoising.blending import Blend
    from service.denoising.job import OutputOptions
    from service.denoising.photon_counts import photon_options
    from service.denoising.pipeline import DenoisingOptions
    from service.errors import InvalidParameter

    target = Target.parse(inputs, out, file_format)
    if ray is not None and (target.to_stream or target.to_file or mask):
        raise typer.BadParameter("--ray takes files and folders, and -o a folder; it takes no --mask")
    if mask and several(inputs):
        raise typer.BadParameter("--mask takes exactly one input file")
    try:
        options = DenoiserOptions(
            model,
            weights,
            device,
            dtype,
            in_bytes(memory_budget),
            DenoisingOptions(
                given(sigma),
                "gray" if color == "gray" else "rgb",
                ensemble,
                Blend(strength, luma_strength, chroma_strength, detail),
            ),
            OutputOptions(target.file_format, depth, metadata),
            gray_stays_gray=color == "auto",
            mask=mask.read_bytes() if mask else None,
            photons=photon_options(noise, gain=given(gain), read_noise=given(read_noise), sigma=given(sigma)),
        )
        # With Ray, the workers load the models; loading them here shows wrong options at once.
        denoiser = options.load() if ray is None else replace(options, device="cpu", dtype="auto").load()
    except (ValueError, InvalidParameter) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if ray is not None:
        raise typer.Exit(_denoise_on_ray(inputs, out, options, force, ray, ray_cores))
    raise typer.Exit(process(target, denoiser, force, "denoising"))


def _denoise_on_ray(inputs: list[Path], out: Path, options: "DenoiserOptions", force: bool, address: str, cores: int) -> int:
    """Denoise files into a folder on a Ray cluster; return the exit code."""
    try:
        from service.cli.ray_files import denoise_on_ray
    except ModuleNotFoundError as error:
        typer.echo(f"{error}: install the extra ray, pip install 'n3denoise[ray]'", err=True)
        return 2
    return denoise_on_ray(inputs, out, options, force, address, cores)
