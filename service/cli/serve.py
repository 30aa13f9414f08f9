"""`n3denoise serve` and `n3denoise health`: run the HTTP service, and check the health of a running one."""

import http.client
import logging
import os
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import FLAG, MemoryBudget

if TYPE_CHECKING:
    from service.settings import Settings

_DEFAULT_HOST = "N3DENOISE_HOST, or 127.0.0.1"
_DEFAULT_PORT = "N3DENOISE_PORT, or 8000"
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (nothing listens here)
"""Where this machine reaches a service that listens on every address."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default=_DEFAULT_HOST)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free port.", show_default=_DEFAULT_PORT)] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Compute device: auto (CUDA if available), cpu or cuda.", show_default="N3DENOISE_DEVICE, or auto"),
    ] = None,
    require_gpu: Annotated[
        bool | None,
        typer.Option("--require-gpu", metavar=FLAG, help="Exit with an error if there is no GPU, instead of using the CPU."),
    ] = None,
    memory_budget: MemoryBudget = None,
) -> None:
    """Start the web service: HTTP API, web page and metrics.

    Options override environment variables. All other settings are environment variables, listed in docs/operations.md.
    """
    # The imports below take seconds. In a container this is process 1, which ignores a signal that has no handler.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = _read_settings(host=host, port=port, device=device, require_gpu=require_gpu, memory_budget_mib=memory_budget)
    from service.api.server import serve as run_server

    code = run_server(settings)
    logging.shutdown()
    # The compute thread may still run native code, for example in a strip that hangs. A regular exit of the interpreter would
    # crash under it.
    os._exit(code)


def health(
    host: Annotated[str | None, typer.Option(help="Address of the service.", show_default=_DEFAULT_HOST)] = None,
    port: Annotated[int | None, typer.Option(help="Port of the service.", show_default=_DEFAULT_PORT)] = None,
    path: Annotated[str, typer.Option(help="Endpoint to query: /readyz (accepts work) or /livez (works at all).")] = "/readyz",
    timeout_seconds: Annotated[float, typer.Option(help="How long to wait for a response, in seconds.")] = 5.0,
) -> None:
    """Check the health of a running service; exit with code 0 if it is healthy and 1 if not."""
    settings = _read_settings(host=host, port=port)
    connection = http.client.HTTPConnection(_LOOPBACK.get(settings.host, settings.host), settings.port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        typer.echo(response.read().decode())
    except OSError as error:
        typer.echo(f"no response: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        connection.close()
    raise typer.Exit(0 if response.status == 200 else 1)


def _read_settings(**overrides: object) -> "Settings":
    """Read the settings from the environment and override them with the options that were given (those not None)."""
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings.model_validate({name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        for each in error.errors(include_url=False):
            typer.echo(f"{'.'.join(map(str, each['loc']))}: {each['msg']}", err=True)
        raise typer.Exit(2) from None
