"""Process many files: find them, decide where each result goes, and report the outcome for each."""

import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from models.atomic_write import atomic_write
from models.images.noise_level import NoiseEstimate
from service.denoising import job
from service.denoising.job import Job, PictureResult
from service.denoising.pipeline import Pass
from service.errors import ServiceError
from service.imaging.picture import INPUT_SUFFIXES, SUFFIXES, Format, Plane

Progress = Callable[[float], None]
RunPass = Callable[[Pass, Progress], Plane]
"""Runs a pass of a network and reports its progress, from 0 to 1."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Source:
    """One file to process.

    Attributes:
        path: Path of the file.
        relative: Path of the result relative to the output folder, before its suffix is decided.
    """

    path: Path
    relative: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome for one file.

    Attributes:
        source: The file.
        target: Path of the result, or None if there is none.
        notes: In a few words, how the picture was processed; empty if there is no result.
        problem: Why there is no result; empty if there is one.
    """

    source: Source
    target: Path | None = None
    notes: str = ""
    problem: str = ""


AnyJob = TypeVar("AnyJob")
AnyResult = TypeVar("AnyResult", bound=PictureResult)


class FileProcessor(Protocol[AnyJob, AnyResult]):
    """What is done to every file."""

    def open(self, data: bytes) -> AnyJob:
        """Return the job for a file.

        Raises:
            ServiceError: If the file is refused.
        """

    def run(self, opened: AnyJob, progress: Progress = lambda _: None) -> AnyResult:
        """Run the job to its end.

        Raises:
            ServiceError: If the file cannot be decoded, processed or encoded.
        """

    def suffix(self, opened: AnyJob, name: str) -> str:
        """Return the suffix of the result for a source of this name."""

    def notes(self, result: AnyResult) -> str:
        """Describe in a few words how the picture was processed."""


def run_passes(opened: Job[Result], run_pass: RunPass, progress: Progress) -> Result:
    """Run a job to its end, and report the progress of all its passes together."""
    return job.run(opened, lambda each: run_pass(each, lambda part: progress((each.index + part) / each.count)))


def suffix_of(file_format: Format, name: str) -> str:
    """Return the suffix of a result: that of its source if it fits the format."""
    fitting = SUFFIXES[file_format]
    own = Path(name).suffix
    return own if own.lower() in fitting else fitting[0]


def estimate_notes(estimate: NoiseEstimate | None) -> list[str]:
    """Describe in a few words how reliable an estimate of the noise is, if there is one."""
    return [f"estimated with confidence {estimate.confidence:.2f}"] if estimate else []


def format_of(path: Path) -> Format | None:
    """Return the image format that the suffix of a path names, or None if it names none that can be written."""
    return next((name for name, suffixes in SUFFIXES.items() if path.suffix.lower() in suffixes), None)


def is_image_name(path: Path) -> bool:
    """Tell whether a path has the suffix of an image format that can be read."""
    return path.suffix.lower() in INPUT_SUFFIXES


def is_file_name(path: Path) -> bool:
    """Tell whether an output path means a file: it has the suffix of any image format and is not an existing folder."""
    media_type = mimetypes.guess_type(path.name)[0] or ""
    return (is_image_name(path) or media_type.startswith("image/")) and not path.is_dir()


def find_sources(inputs: Iterable[Path], out: Path) -> Iterator[Source]:
    """Yield the given files, and all images (by suffix) below the given folders in name order, without the output folder."""
    for given in inputs:
        if not given.is_dir():
            yield Source(given, Path(given.name))
            continue
        for folder, folders, names in os.walk(given):
            folders[:] = sorted(name for name in folders if (Path(folder) / name).resolve() != out.resolve())
            for name in sorted(names):
                path = Path(folder) / name
                if is_image_name(path):
                    yield Source(path, path.relative_to(given))


def process_files(
    sources: Iterable[Source],
    out: Path,
    processor: FileProcessor[AnyJob, AnyResult],
    overwrite: bool,
    progress: Progress = lambda _: None,
) -> Iterator[Outcome]:
    """Process files one after another; a file that fails does not stop the others.

    Args:
        sources: The files.
        out: Folder of the results; created if it does not exist.
        processor: What to do to each file.
        overwrite: Whether an existing file may be replaced; two sources never write to the same file.
        progress: Told the progress of the current file, from 0 to 1.

    Yields:
        The outcome for each file, in the order of the sources.
    """
    written: set[Path] = set()
    for source in sources:
        try:
            opened = processor.open(source.path.read_bytes())
            target = (out / source.relative).with_suffix(processor.suffix(opened, source.relative.name))
            if target in written:
                raise FileExistsError("two sources would be written to one file")
            if target.exists() and not overwrite:
                raise FileExistsError(f"{target} exists; use --force to overwrite it")
            result = processor.run(opened, progress)
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(target) as part:
                part.write_bytes(result.file)
            written.add(target)
            yield Outcome(source, target, processor.notes(result))
        except ServiceError as error:
            yield Outcome(source, problem=error.detail)
        except OSError as error:
            yield Outcome(source, problem=error.strerror or str(error))
