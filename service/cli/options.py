"""Options that several commands share, and a command that takes several values of `--sigma` in a row."""

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

FLAG = ""
"""The metavar of an option without a value. Without it, the help text would show "<bool>", as if a value had to follow."""

Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="Model: n3net; n3unet, which is over three times as fast; photo, which is for photographs; or one to compare them "
        "with: dncnn (convolutions only) or nlm (non-local means).",
    ),
]
AutoModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="Model: auto takes photo if sigma is auto and the noise is not white, and n3net otherwise. n3net and n3unet, which "
        "is over three times as fast, are for white noise; photo is for photographs; dncnn (convolutions only) and nlm "
        "(non-local means) are there to compare with.",
    ),
]
Weights = Annotated[
    str, typer.Option("--weights", help="Weights of the n3net model: the name of shipped weights, or a .safetensors file.")
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


class SigmaListCommand(TyperCommand):
    """A command whose `--sigma` takes one or more numbers: `--sigma 25 50 70`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat `--sigma` before every further number, the only form of a list that the parser understands."""
        repeated: list[str] = []
        in_list = False
        for index, argument in enumerate(args):
            if argument == "--sigma":
                in_list = True
            elif in_list and args[index - 1] != "--sigma":
                if _is_number(argument):
                    repeated.append("--sigma")
                else:
                    in_list = False
            repeated.append(argument)
        return super().parse_args(ctx, repeated)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
