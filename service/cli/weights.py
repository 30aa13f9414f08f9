"""`n3denoise weights`: list, inspect and import weights."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.options import FLAG

weights = typer.Typer(help="List, inspect and import weights.", no_args_is_help=True)


@weights.command("list")
def list_weights() -> None:
    """List the shipped weights with their noise range, or what else they are for, and their SHA-256."""
    from models.weights.files import load_weights, weights_names

    for name in weights_names():
        loaded = load_weights(name)
        lowest, highest = loaded.sigma_range
        purpose = f"sigma {lowest:g} to {highest:g}" if loaded.config.channels else "matches of two pictures"
        typer.echo(f"{name}  {purpose}  sha256 {loaded.sha256}")


@weights.command()
def show(name: Annotated[str, typer.Argument(help="Name of shipped weights, or a .safetensors file.")] = "default") -> None:
    """Verify weights and print their configuration and training details as JSON."""
    import json

    from models.networks.config import store_config
    from models.weights.files import WeightsError, load_weights

    try:
        loaded = load_weights(name)
    except WeightsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    content = {
        "name": loaded.name,
        "sha256": loaded.sha256,
        "sigma_range": loaded.sigma_range,
        "config": store_config(loaded.config),
        "facts": loaded.facts,
    }
    typer.echo(json.dumps(content, indent=1))


@weights.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="Checkpoint of the N3Net authors, such as 051_ckpt.t7.")],
    sigma: Annotated[float, typer.Option(help="Noise level the checkpoint was trained for (0-255 scale).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights file to write (.safetensors).")],
    force: Annotated[bool, typer.Option("--force", metavar=FLAG, help="Overwrite an existing file.")] = False,
) -> None:
    """Convert a checkpoint of the N3Net authors into a weights file.

    The authors' license still applies to the result: do not redistribute it.
    """
    from models.weights.authors import import_checkpoint
    from models.weights.files import WeightsError, save_weights

    if output.exists() and not force:
        typer.echo(f"{output} exists; --force overwrites it", err=True)
        raise typer.Exit(2)
    try:
        loaded = import_checkpoint(file, sigma)
        sha256 = save_weights(output, loaded.config, loaded.state, loaded.sigma_range, loaded.facts)
    except (WeightsError, OSError) as error:
        typer.echo(f"{error}; nothing was written", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{output}  sigma {sigma:g}  sha256 {sha256}")
