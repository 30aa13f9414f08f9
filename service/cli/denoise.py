"""`n3denoise denoise`: denoise files, folders or standard input, without a service, on this machine or on a Ray cluster."""

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.options import FLAG, AutoModel, Device, MemoryBudget, Precision, Weights, in_bytes

if TYPE_CHECKING:
    from service.cli.denoiser import DenoiserOptions
    from service.cli.files import FileDenoiser, Source

STREAM = Path("-")


def number_or_auto(text: str) -> float:
    """Parse a number of at least 0; "auto" becomes nan, because the parser of an option returns a single type."""
    if text == "auto":
        return math.nan
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise typer.BadParameter("must be a number of at least 0 (0-255 scale), or auto")
    return number


def format_or_alias(text: str) -> str:
    """Parse the name of a file format, or an alias such as "jpg"."""
    from service.imaging.picture import FORMAT_ALIASES, FORMATS

    name = FORMAT_ALIASES.get(text, text)
    if name not in FORMATS:
        raise typer.BadParameter(f"must be one of {', '.join((*FORMATS, *FORMAT_ALIASES))}")
    return name


def denoise(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="Image files, folders (searched recursively), or - for standard input."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            *("--out", "-o"),
            metavar="OUT",
            help="Output folder; for a single input file also an output file, such as result.png; or - for standard output.",
        ),
    ],
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
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            metavar=FLAG,
            help="Average over eight flips and rotations of the image: slightly better, eight times slower.",
        ),
    ] = False,
    file_format: Annotated[
        Literal["png", "jpeg", "webp", "avif", "tiff", "bmp"] | None,
        typer.Option(
            "--format",
            parser=format_or_alias,
            metavar="[png|jpeg|webp|avif|tiff|bmp]",
            help="File format of the output; jpg means jpeg, and tif means tiff.",
            show_default="same as the input, or jpeg for HEIC",
        ),
    ] = None,
    depth: Annotated[
        Literal["8", "16", "float"] | None,
        typer.Option(help="Bits per channel of the output: 8, 16, or float (32-bit).", show_default="same as the input"),
    ] = None,
    metadata: Annotated[
        Literal["no-gps", "keep", "strip"],
        typer.Option(help="Metadata to keep: all but GPS data (no-gps), GPS data too (keep), or none (strip)."),
    ] = "no-gps",
    force: Annotated[bool, typer.Option("--force", metavar=FLAG, help="Overwrite existing files.")] = False,
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
    from service.cli.denoiser import DenoiserOptions, given
    from service.cli.files import Source, find_sources, format_of, is_file_name
    from service.denoising.blending import Blend
    from service.denoising.job import OutputOptions
    from service.denoising.photon_counts import photon_options
    from service.denoising.pipeline import DenoisingOptions
    from service.errors import InvalidParameter

    streams = [path == STREAM for path in (*inputs, out)]
    if any(streams) and (len(inputs) > 1 or out != STREAM):
        raise typer.BadParameter("- takes exactly one input and writes it to standard output: n3denoise denoise - -o -")
    to_file = out != STREAM and is_file_name(out)
    if ray is not None and (any(streams) or to_file or mask):
        raise typer.BadParameter("--ray takes files and folders, and -o a folder; it takes no --mask")
    several = len(inputs) > 1 or inputs[0].is_dir()
    if mask and several:
        raise typer.BadParameter("--mask takes exactly one input file")
    if to_file and several:
        raise typer.BadParameter(f"{out} names one file, but there are several inputs: give -o a folder, such as {out.stem}/")
    if to_file and not format_of(out):
        raise typer.BadParameter(f"{out} names a format that cannot be written; use another, such as .jpg or .png")
    if to_file and file_format not in (None, format_of(out)):
        raise typer.BadParameter(f"--format {file_format} does not fit the name of the output file, {out}")
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
            OutputOptions(format_of(out) if to_file else file_format, depth, metadata),
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
    if out == STREAM:
        raise typer.Exit(denoise_stream(inputs[0], denoiser))
    sources = [Source(inputs[0], Path(out.name))] if to_file else list(find_sources(inputs, out))
    raise typer.Exit(denoise_sources(sources, out.parent if to_file else out, denoiser, force))


def denoise_stream(path: Path, denoiser: "FileDenoiser") -> int:
    """Denoise one picture from standard input or a file to standard output; return the exit code."""
    from service.errors import ServiceError

    if sys.stdout.isatty():
        typer.echo("standard output is a terminal; redirect it to a file or a program", err=True)
        return 2
    try:
        data = sys.stdin.buffer.read() if path == STREAM else path.read_bytes()
        result = denoiser.run(denoiser.open(data))
    except (ServiceError, OSError) as error:
        typer.echo(f"{'standard input' if path == STREAM else path}: {error}", err=True)
        return 1
    sys.stdout.buffer.write(result.file)
    sys.stdout.buffer.flush()
    return 0


def denoise_sources(sources: "list[Source]", out: Path, denoiser: "FileDenoiser", force: bool) -> int:
    """Denoise files into a folder; print a line for each file and the overall progress; return the exit code."""
    from service.cli.files import denoise_files
    from service.cli.report import line_of, progress_bar

    failed = 0
    with progress_bar() as progress:
        task = progress.add_task("denoising", total=len(sources))
        outcomes = denoise_files(sources, out, denoiser, force, lambda part: progress.update(task, completed=done + part))
        done = 0
        for done, outcome in enumerate(outcomes, 1):
            failed += bool(outcome.problem)
            progress.update(task, completed=done)
            progress.console.print(line_of(outcome), markup=False, highlight=False)
    typer.echo(f"{len(sources) - failed} of {len(sources)} done", err=True)
    if not sources:
        typer.echo("no image found", err=True)
    return 1 if failed or not sources else 0


def _denoise_on_ray(inputs: list[Path], out: Path, options: "DenoiserOptions", force: bool, address: str, cores: int) -> int:
    """Denoise files into a folder on a Ray cluster; return the exit code."""
    try:
        from service.cli.ray_files import denoise_on_ray
    except ModuleNotFoundError as error:
        typer.echo(f"{error}: install the extra ray, pip install 'n3denoise[ray]'", err=True)
        return 2
    return denoise_on_ray(inputs, out, options, force, address, cores)
