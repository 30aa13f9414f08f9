"""Options that take several numbers in a row: `--sigma 25 50 70`."""

from typing import Any

from typer.core import TyperCommand


class SeveralSigmas(TyperCommand):
    """A command whose `--sigma` may be followed by any count of numbers."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each further number, which is what the parser understands."""
        spread: list[str] = []
        follows = False
        for place, arg in enumerate(args):
            if arg == "--sigma":
                follows = True
            elif follows and args[place - 1] != "--sigma":
                if is_number(arg):
                    spread.append("--sigma")
                else:
                    follows = False
            spread.append(arg)
        return super().parse_args(ctx, spread)


def is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
