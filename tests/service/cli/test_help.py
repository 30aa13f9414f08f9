"""Help texts: every command and option has one, and the defaults they name are the real ones."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from models.training.recipe import Recipe
from service import version
from service.__main__ import app
from service.settings import Settings

PROGRAM: Any = typer.main.get_command(app)


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield a command and all commands below it with their paths, such as "n3denoise weights list"."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands(PROGRAM, "n3denoise"))


def documented_defaults(path: str) -> dict[str, str]:
    """Return the defaults that a help text states because the option itself has none."""
    shown = {str(each.name): getattr(each, "show_default", None) for each in COMMANDS[path].params}
    return {name: text for name, text in shown.items() if isinstance(text, str)}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_is_a_full_phrase(path: str) -> None:
    command = COMMANDS[path]
    texts = [command.help, *(getattr(each, "help", "") for each in command.params)]
    for text in texts:
        assert text
        assert text[0].isupper(), text
        assert text.rstrip().endswith("."), text


def test_the_defaults_of_training_are_those_of_the_recipe() -> None:
    recipe = Recipe()
    for name, text in documented_defaults("n3denoise train").items():
        value = getattr(recipe, name, None)
        if isinstance(value, tuple):
            assert text == " ".join(f"{each:g}" for each in value)
        elif value is not None:
            assert text == (f"{value:g}" if isinstance(value, float) else str(value)), name


def test_the_defaults_of_the_service_are_those_of_its_settings() -> None:
    for name in ("host", "port", "device"):
        text = documented_defaults("n3denoise serve")[name]
        assert text == f"N3DENOISE_{name.upper()}, or {Settings.model_fields[name].default}"


@pytest.mark.parametrize("path", COMMANDS)
def test_switches_are_shown_without_a_value(path: str) -> None:
    for option in COMMANDS[path].params:
        if getattr(option, "is_flag", False) and option.name not in ("help", "install_completion", "show_completion"):
            assert option.metavar == "", option.name
            assert not option.secondary_opts, option.name


def test_a_range_is_shown_as_two_numbers() -> None:
    text = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "200"}).stdout
    assert re.search(r"--sigma-range +LOW HIGH +.*--sigma-range 0 50", text), text


def test_the_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert done.exit_code == 0
    assert done.stdout == f"n3denoise {version()}\n"
