"""`n3denoise upscale`: enlarge files, folders or standard input, without a service."""

from typing import Annotated

import typer

from service.cli.options import (
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
    given,
    in_bytes,
    number_or_auto,
)


def upscale(
    inputs: Sources,
    out: Output,
    factor: Annotated[int, typer.Option(min=2, max=4, help="Factor by which width and height grow: 2, 3 or 4.")] = 2,
    sigma: Annotated[
        float,
        typer.Option(
            parser=number_or_auto,
            metavar="SIGMA",
            help="Standard deviation of the noise to remove (0-255 scale, at most 25), 0 for none, or auto to estimate it.",
        ),
    ] = "0",  # type: ignore[assignment]
    ensemble: Ensemble = False,
    file_format: FileFormat = None,
    depth: BitDepth = None,
    metadata: KeptMetadata = "no-gps",
    force: Force = False,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the network that enlarges: a name, or a .safetensors file.", show_default="the shipped weights"
        ),
    ] = None,
    device: Device = "auto",
    dtype: Precision = "auto",
    memory_budget: MemoryBudget = None,
) -> None:
    """Enlarge image files, whole folders, or standard input; exit with code 1 if any image failed."""
    from service.cli.process import Target, process
    from service.cli.upscaler import load_file_upscaler
    from service.denoising.job import OutputOptions
    from service.denoising.upscaling import UpscalingOptions

    target = Target.parse(inputs, out, file_format)
    upscaling, output = UpscalingOptions(factor, given(sigma), ensemble), OutputOptions(target.file_format, depth, metadata)
    try:
        upscaler = load_file_upscaler(weights, device, dtype, in_bytes(memory_budget), upscaling, output)
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    raise typer.Exit(process(target, upscaler, force, "enlarging"))
