"""What `n3denoise denoise` and `n3denoise upscale` do with their sources: where results go, and what is told about them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import typer

from service.cli.files import FileProcessor, Source, find_sources, format_of, is_file_name, process_files
from service.cli.report import line_of, progress_bar
from service.errors import ServiceError
from service.imaging.picture import Format

STREAM = Path("-")


@dataclass(frozen=True, slots=True)
class Target:
    """Sources, and where their results go.

    Attributes:
        inputs: Files and folders, or "-" for standard input.
        out: A folder, a file, or "-" for standard output.
        file_format: The format of the results; None keeps that of each source.
        to_file: Whether `out` is a file.
    """

    inputs: Sequence[Path]
    out: Path
    file_format: Format | None
    to_file: bool

    @property
    def to_stream(self) -> bool:
        """Whether the result goes to standard output."""
        return self.out == STREAM

    @classmethod
    def parse(cls, inputs: Sequence[Path], out: Path, file_format: Format | None) -> Self:
        """Decide whether the output is a file, a folder or standard output.

        Raises:
            BadParameter: If the sources, the output and the format do not fit each other.
        """
        streams = [path == STREAM for path in (*inputs, out)]
        if any(streams) and (len(inputs) > 1 or out != STREAM):
            raise typer.BadParameter("- takes exactly one input and writes it to standard output: IN is -, and -o is -")
        to_file = out != STREAM and is_file_name(out)
        if to_file and several(inputs):
            raise typer.BadParameter(f"{out} names one file, but there are several inputs: give -o a folder, such as {out.stem}/")
        if to_file and not format_of(out):
            raise typer.BadParameter(f"{out} names a format that cannot be written; use another, such as .jpg or .png")
        if to_file and file_format not in (None, format_of(out)):
            raise typer.BadParameter(f"--format {file_format} does not fit the name of the output file, {out}")
        return cls(inputs, out, format_of(out) if to_file else file_format, to_file)

    def sources(self) -> list[Source]:
        """Return all image files."""
        return [Source(self.inputs[0], Path(self.out.name))] if self.to_file else list(find_sources(self.inputs, self.out))


def several(inputs: Sequence[Path]) -> bool:
    """Tell whether there can be more than one source."""
    return len(inputs) > 1 or inputs[0].is_dir()


def process(target: Target, processor: FileProcessor[Any, Any], force: bool, doing: str) -> int:
    """Process all sources and report the outcomes; return the exit code.

    Args:
        target: The sources, and where results go.
        processor: What to do to each file.
        force: Whether to overwrite existing files.
        doing: What the progress bar says.
    """
    if target.to_stream:
        return _process_stream(target.inputs[0], processor)
    out = target.out.parent if target.to_file else target.out
    return _process_sources(target.sources(), out, processor, force, doing)


def _process_stream(path: Path, processor: FileProcessor[Any, Any]) -> int:
    """Process one picture from standard input or a file to standard output; return the exit code."""
    if sys.stdout.isatty():
        typer.echo("standard output is a terminal; redirect it to a file or a program", err=True)
        return 2
    try:
        data = sys.stdin.buffer.read() if path == STREAM else path.read_bytes()
        result = processor.run(processor.open(data))
    except (ServiceError, OSError) as error:
        typer.echo(f"{'standard input' if path == STREAM else path}: {error}", err=True)
        return 1
    sys.stdout.buffer.write(result.file)
    sys.stdout.buffer.flush()
    return 0


def _process_sources(sources: list[Source], out: Path, processor: FileProcessor[Any, Any], force: bool, doing: str) -> int:
    """Process files into a folder; print a line for each file and the overall progress; return the exit code."""
    failed = 0
    with progress_bar() as progress:
        task = progress.add_task(doing, total=len(sources))
        outcomes = process_files(sources, out, processor, force, lambda part: progress.update(task, completed=done + part))
        done = 0
        for done, outcome in enumerate(outcomes, 1):
            failed += bool(outcome.problem)
            progress.update(task, completed=done)
            progress.console.print(line_of(outcome), markup=False, highlight=False)
    typer.echo(f"{len(sources) - failed} of {len(sources)} done", err=True)
    if not sources:
        typer.echo("no image found", err=True)
    return 1 if failed or not sources else 0
