"""The command line, `n3denoise`: assembles the commands, each of which imports what it needs when it runs."""

from typing import Annotated

import typer

from service import version
from service.cli.denoise import denoise
from service.cli.evaluate import evaluate
from service.cli.match import match
from service.cli.options import FLAG, NumberListCommand
from service.cli.serve import health, serve
from service.cli.train import train
from service.cli.upscale import upscale
from service.cli.weights import weights

app = typer.Typer(no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    """Print the version and end the program, if that is wanted."""
    if wanted:
        typer.echo(f"n3denoise {version()}")
        raise typer.Exit


@app.callback()
def n3denoise(
    _version: Annotated[
        bool,
        typer.Option("--version", metavar=FLAG, is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Remove noise from images and enlarge them, with neural nearest neighbors: as a web service or on the command line."""


app.command()(serve)
app.command()(health)
app.command()(denoise)
app.command()(upscale)
app.command(cls=NumberListCommand)(evaluate)
app.command()(match)
app.command()(train)
app.add_typer(weights, name="weights")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
