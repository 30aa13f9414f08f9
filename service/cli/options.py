"""Options that several commands share, and a command that takes several values of an option in a row."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

FLAG = ""
"""The metavar of an option without a value. Without it, the help text would show "<bool>", as if a value had to follow."""


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


def given(number: float) -> float | None:
    """Return a number that an option was given, with None for "auto", which the option holds as nan."""
    return None if math.isnan(number) else number


Sources = Annotated[
    list[Path],
    typer.Argument(metavar="IN...", help="Image files, folders (searched recursively), or - for standard input."),
]
Output = Annotated[
    Path,
    typer.Option(
        *("--out", "-o"),
        metavar="OUT",
        help="Output folder; for a single input file also an output file, such as result.png; or - for standard output.",
    ),
]
Ensemble = Annotated[
    bool,
    typer.Option(
        "--ensemble",
        metavar=FLAG,
        help="Average over eight flips and rotations of the image: slightly better, eight times slower.",
    ),
]
FileFormat = Annotated[
    Literal["png", "jpeg", "webp", "avif", "tiff", "bmp"] | None,
    typer.Option(
        "--format",
        parser=format_or_alias,
        metavar="[png|jpeg|webp|avif|tiff|bmp]",
        help="File format of the output; jpg means jpeg, and tif means tiff.",
        show_default="same as the input, or jpeg for HEIC",
    ),
]
BitDepth = Annotated[
    Literal["8", "16", "float"] | None,
    typer.Option("--depth", help="Bits per channel of the output: 8, 16, or float (32-bit).", show_default="same as the input"),
]
KeptMetadata = Annotated[
    Literal["no-gps", "keep", "strip"],
    typer.Option("--metadata", help="Metadata to keep: all but GPS data (no-gps), GPS data too (keep), or none (strip)."),
]
Force = Annotated[bool, typer.Option("--force", metavar=FLAG, help="Overwrite existing files.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="Model: n3unet; n3net, the published network, which takes about three times as long; photo, which is for "
        "photographs; or one to compare them with: dncnn (convolutions only) or nlm (non-local means).",
    ),
]
AutoModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="Model: auto takes photo if sigma is auto and the noise is not white, and n3unet otherwise. n3unet and n3net, the "
        "published network, which takes about three times as long, are for white noise; photo is for photographs; dncnn "
        "(convolutions only) and nlm (non-local means) are there to compare with.",
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        help="Weights that replace those of n3unet: the name of shipped weights, or a .safetensors file. Other models take none.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="Compute device: auto (CUDA if available), cpu or cuda.")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option("--dtype", help="Precision of the convolutions; auto picks the fastest that the device handles well."),
]
MemoryBudget = Annotated[
    int | None,
    typer.Option(
        "--memory-budget",
        min=1,
        metavar="MIB",
        help="Working memory of the network in MiB, in addition to the images themselves.",
        show_default="a share of the free memory",
    ),
]


def in_bytes(mebibytes: int | None) -> int | None:
    """Convert a memory budget from MiB to bytes; None stays None."""
    return None if mebibytes is None else mebibytes << 20


LIST_OPTIONS = ("--sigma", "--factor")
"""The options of which a `NumberListCommand` takes several values in a row."""


class NumberListCommand(TyperCommand):
    """A command whose `--sigma` and `--factor` take one or more numbers: `--sigma 25 50 70`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before every further number, the only form of a list that the parser understands."""
        repeated: list[str] = []
        option = ""
        for index, argument in enumerate(args):
            if argument in LIST_OPTIONS:
                option = argument
            elif option and args[index - 1] != option:
                if _is_number(argument):
                    repeated.append(option)
                else:
                    option = ""
            repeated.append(argument)
        return super().parse_args(ctx, repeated)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
