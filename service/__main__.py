"""The command line, `n3denoise`; each command imports what it needs when it runs."""

import logging
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.denoise import denoise
from service.cli.evaluate import evaluate
from service.cli.options import MemoryBudget
from service.cli.sigmas import SeveralSigmas
from service.cli.train import train
from service.cli.weights import weights

if TYPE_CHECKING:
    from service.settings import Settings

app = typer.Typer(help="Denoise images with N3Net, as a service or here and now.", no_args_is_help=True)
app.command(cls=SeveralSigmas)(evaluate)
app.command()(train)
app.command()(denoise)
app.add_typer(weights, name="weights")


@app.command("serve")
def serve_api(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    require_gpu: Annotated[bool | None, typer.Option("--require-gpu", help="Fail without a GPU.")] = None,
    memory_budget: MemoryBudget = None,
) -> None:
    """Serve the HTTP API; every other setting comes from the environment, see docs/operations.md."""
    # The imports below take seconds, and process 1 ignores a signal that has no handler.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = _settings(host=host, port=port, device=device, require_gpu=require_gpu, memory_budget_mib=memory_budget)
    from service.api.server import serve

    code = serve(settings)
    logging.shutdown()
    # The compute thread may be in the midst of native code, loading weights or in a strip that hangs: taking the interpreter
    # down around it crashes.
    os._exit(code)


@app.command()
def health(
    host: Annotated[str | None, typer.Option(help="Address of the service.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the service.")] = None,
    path: Annotated[str, typer.Option(help="/livez or /readyz.")] = "/readyz",
    timeout_seconds: Annotated[float, typer.Option(help="How long to wait for the answer.")] = 5.0,
) -> None:
    """Ask the running service for its health; the exit code is 0 when it is well."""
    import http.client

    settings = _settings(host=host, port=port)
    # What listens on every address is asked on this machine's own.
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    connection = http.client.HTTPConnection(address, settings.port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        typer.echo(answer.read().decode())
    except OSError as error:
        typer.echo(f"no answer: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        connection.close()
    raise typer.Exit(0 if answer.status == 200 else 1)


def _settings(**given: object) -> "Settings":
    """Settings from the environment, overridden by the options given."""
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for each in error.errors(include_url=False):
            typer.echo(f"{'.'.join(map(str, each['loc']))}: {each['msg']}", err=True)
        raise typer.Exit(2) from None


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
