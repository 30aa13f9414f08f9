"""What the command line tells about many files: the overall progress, and a line for each file."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.files import Outcome


def progress_bar() -> Progress:
    """Return a progress bar on standard error that counts files."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True, soft_wrap=True))


def line_of(outcome: Outcome) -> str:
    """Describe the outcome for a file in one line."""
    if outcome.problem:
        return f"FAILED {outcome.source.path}: {outcome.problem}"
    return f"{outcome.source.path} -> {outcome.target} ({outcome.notes})"
