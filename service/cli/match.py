"""`n3denoise match`: which points of two pictures belong together, and how the camera moved between them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.cli.options import FLAG

if TYPE_CHECKING:
    from service.imaging.picture import Format


def match(
    first: Annotated[Path, typer.Argument(metavar="IMAGE1", exists=True, dir_okay=False, help="First picture.")],
    second: Annotated[
        Path, typer.Argument(metavar="IMAGE2", exists=True, dir_okay=False, help="Second picture, of the same scene.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write: .json, or a picture of the matches such as .png. By default, the JSON goes to standard output.",
        ),
    ] = None,
    detector: Annotated[
        Literal["sift", "orb"], typer.Option(help="How points are found and compared; orb is faster and finds fewer matches.")
    ] = "sift",
    ratio: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Largest distance of a match as a share of that of the second best; 1 keeps every match."
        ),
    ] = 0.9,
    focal: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Focal length. With it, the result has the essential matrix and the motion of the camera.",
            show_default="a guess of 1.2 times the longer side, and no motion",
        ),
    ] = None,
    focal2: Annotated[
        float | None,
        typer.Option("--focal2", min=1, metavar="PIXELS", help="Focal length of the second picture.", show_default="--focal"),
    ] = None,
    center: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="X Y", help="Principal point of the first picture, in pixels.", show_default="its middle"),
    ] = None,
    center2: Annotated[
        tuple[float, float] | None,
        typer.Option("--center2", metavar="X Y", help="Principal point of the second picture.", show_default="its middle"),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Weights of the network: the name of shipped weights, or a .safetensors file.")
    ] = "correspondences",
    force: Annotated[bool, typer.Option("--force", metavar=FLAG, help="Overwrite an existing file.")] = False,
) -> None:
    """Match two pictures of the same scene, tell correct matches from wrong ones, and estimate the geometry of the two views.

    The exit code is 1 if a picture cannot be read, or too few of its points match.
    """
    from models.correspondences.estimation import MatchClassifier, TooFewMatchesError
    from models.weights.files import WeightsError
    from service.cli.matching import MatchingOptions, describe, draw, match_pictures, read_picture, write
    from service.errors import ServiceError

    file_format = _picture_format(output)
    if output and output.exists() and not force:
        typer.echo(f"{output} exists; --force overwrites it", err=True)
        raise typer.Exit(2)
    if focal is None and (focal2 or center or center2):
        raise typer.BadParameter("--focal2, --center and --center2 need --focal")
    options = MatchingOptions(detector, ratio, (focal, focal2 or focal), (center, center2))
    try:
        classifier = MatchClassifier.load(weights)
    except WeightsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    try:
        pictures = read_picture(first), read_picture(second)
        found = match_pictures(*pictures, classifier, options)
        content = draw(*pictures, found, file_format) if file_format else describe(found)
        if output is None:
            typer.echo(content.decode(), nl=False)
        else:
            write(output, content)
    except (ServiceError, OSError, TooFewMatchesError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _picture_format(output: Path | None) -> "Format | None":
    """Return the format of the picture to write, or None for JSON.

    Raises:
        typer.BadParameter: If the suffix is neither that of a picture nor .json.
    """
    from service.cli.files import format_of
    from service.imaging.picture import SUFFIXES

    if output is None or output.suffix.lower() == ".json":
        return None
    if file_format := format_of(output):
        return file_format
    known = ", ".join((".json", *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)))
    raise typer.BadParameter(f"{output} has an unknown suffix; known suffixes: {known}")
