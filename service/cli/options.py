"""Options that several commands share: which method, on what, in how much memory."""

from typing import Annotated, Literal

import typer

Model = Annotated[str, typer.Option("--model", help="n3net; to compare: dncnn, without neighbors; nlm, non-local means.")]
Weights = Annotated[str, typer.Option("--weights", help="Name or file, for n3net.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Precision = Annotated[Literal["auto", "float32", "bfloat16", "float16"], typer.Option("--dtype", help="Of the convolutions.")]
MemoryBudget = Annotated[
    int | None,
    typer.Option("--memory-budget", min=1, metavar="MIB", help="Working memory beside the image; a share of what is free."),
]


def in_bytes(mebibytes: int | None) -> int | None:
    """Turn a memory budget as it is given into one as it is taken."""
    return None if mebibytes is None else mebibytes << 20
