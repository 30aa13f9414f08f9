"""The command line, `n3denoise`: assembles the commands, each of which imports what it needs when it runs."""

import typer

from service.cli.denoise import denoise
from service.cli.evaluate import evaluate
from service.cli.options import SigmaListCommand
from service.cli.serve import health, serve
from service.cli.train import train
from service.cli.weights import weights

app = typer.Typer(help="Remove noise from images with N3Net: as a web service or on the command line.", no_args_is_help=True)
app.command()(serve)
app.command()(health)
app.command()(denoise)
app.command(cls=SigmaListCommand)(evaluate)
app.command()(train)
app.add_typer(weights, name="weights")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
