"""Denoise many files on a Ray cluster, with Ray Data: each worker loads the models once and takes one file after another."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypedDict

import fsspec
import ray
import typer
from fsspec.implementations.local import LocalFileSystem
from ray.data import ActorPoolStrategy, DataContext

from models.atomic_write import atomic_write
from models.machine import usable_cores
from service.cli.denoiser import DenoiserOptions
from service.cli.files import is_image_name
from service.cli.report import progress_bar
from service.errors import ServiceError

_MOST_BLOCKS = 2_000
"""Ray Data plans a task for each block of files. More tasks than this would keep the machine that plans them busy."""


class SourceRow(TypedDict):
    """One file to denoise: its URL or absolute path, and the path of its result relative to the output folder."""

    source: str
    relative: str


class OutcomeRow(TypedDict):
    """The outcome for one file: the path of its result, whether that existed before, and either notes or a problem."""

    source: str
    target: str
    skipped: bool
    notes: str
    problem: str


def denoise_on_ray(inputs: list[Path], out: Path, options: DenoiserOptions, force: bool, address: str, cores: int) -> int:
    """Denoise files into a folder; print a line for each file and the overall progress, then what failed.

    Args:
        inputs: Files and folders, or URLs that fsspec can read.
        out: Folder of the results, or a URL that fsspec can write to.
        options: What to do to each file.
        force: Whether existing results are replaced; otherwise their sources are skipped.
        address: Address of the Ray cluster, "auto" or "local".
        cores: Cores for each worker, if the cluster has no GPUs.

    Returns:
        The exit code.
    """
    sources = list(_find_sources([_location(path) for path in inputs], _location(out)))
    if not sources:
        typer.echo("no image found", err=True)
        return 1
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Ray itself counts all cores of the machine, whatever this process may use.
    here = {"num_cpus": usable_cores(), "include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **here)
    failed: list[str] = []
    skipped = 0
    with progress_bar() as progress:
        task = progress.add_task("denoising", total=len(sources))
        for row in _distinct(_outcomes(sources, _location(out), options, force, cores)):
            line = _line_of(row)
            failed += [line] if row["problem"] else []
            skipped += row["skipped"]
            progress.advance(task)
            progress.console.print(line, markup=False, highlight=False)
    ray.shutdown()
    for line in failed:
        typer.echo(line, err=True)
    typer.echo(f"{len(sources) - len(failed)} of {len(sources)} done, {skipped} of them before", err=True)
    return 1 if failed else 0


class Worker:
    """Denoises files; Ray Data runs one in each process of its pool."""

    def __init__(self, out: str, options: DenoiserOptions, force: bool) -> None:
        """Load the models."""
        self._out, self._force = out, force
        self._denoiser = options.load()

    def __call__(self, row: SourceRow) -> OutcomeRow:
        """Denoise one file, unless its result exists."""
        outcome = OutcomeRow(source=row["source"], target="", skipped=False, notes="", problem="")
        try:
            with fsspec.open(row["source"], "rb") as file:
                opened = self._denoiser.open(file.read())
            relative = PurePosixPath(row["relative"])
            results, folder = fsspec.core.url_to_fs(self._out)
            target = f"{folder}/{relative.with_suffix(self._denoiser.suffix(opened, relative.name))}"
            outcome["target"] = target
            if not self._force and results.exists(target):
                outcome["skipped"] = True
                return outcome
            result = self._denoiser.run(opened)
            _write(results, target, result.file)
            outcome["notes"] = self._denoiser.notes(result)
        except ServiceError as error:
            outcome["problem"] = error.detail
        except OSError as error:
            outcome["problem"] = error.strerror or str(error)
        return outcome


def _write(results: Any, target: str, file: bytes) -> None:
    """Write a file so that nobody sees a part of it, even if this process is killed."""
    if isinstance(results, LocalFileSystem):
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            part.write_bytes(file)
    else:
        results.pipe_file(target, file)  # the object of a bucket appears when it is complete


def _outcomes(sources: list[SourceRow], out: str, options: DenoiserOptions, force: bool, cores: int) -> Iterator[OutcomeRow]:
    """Yield the outcome for each file, as they are ready."""
    DataContext.get_current().enable_progress_bars = False
    gpus = 0 if options.device == "cpu" else int(ray.cluster_resources().get("GPU", 0))
    present = max(1, int(ray.cluster_resources().get("CPU", 1)))
    cores = min(cores, present)
    workers = gpus or present // cores
    rows = ray.data.from_items(sources, override_num_blocks=min(len(sources), _MOST_BLOCKS)).map(
        Worker,
        fn_constructor_args=(out, options, force),
        compute=ActorPoolStrategy(min_size=1, initial_size=workers, max_size=workers),
        num_cpus=1 if gpus else cores,
        num_gpus=1 if gpus else 0,
    )
    yield from rows.iter_rows()


def _distinct(rows: Iterator[OutcomeRow]) -> Iterator[OutcomeRow]:
    """Report a problem where two sources have the same result, because one of them is lost."""
    targets: set[str] = set()
    for row in rows:
        if row["target"] in targets and not row["problem"]:
            row["problem"], row["skipped"] = "two sources would be written to one file", False
        targets.add(row["target"])
        yield row


def _line_of(row: OutcomeRow) -> str:
    if row["problem"]:
        return f"FAILED {row['source']}: {row['problem']}"
    return f"{row['source']} -> {row['target']} ({'done before' if row['skipped'] else row['notes']})"


def _location(path: Path) -> str:
    """Return a path or URL as a string; a `Path` turns the two slashes of a URL into one."""
    return re.sub(r"^([a-z][a-z0-9+.-]+):/(?!/)", r"\1://", str(path))


def _find_sources(inputs: list[str], out: str) -> Iterator[SourceRow]:
    """Yield the given files, and all images (by suffix) below the given folders in name order, without the output folder."""
    results, folder = fsspec.core.url_to_fs(out)
    for given in inputs:
        files, root = fsspec.core.url_to_fs(given)
        below = sorted(files.find(root)) if files.isdir(root) else [root]
        for path in below:
            own = type(files) is type(results) and path.startswith(f"{folder}/")
            if path == root:
                yield SourceRow(source=_url(files, path), relative=PurePosixPath(path).name)
            elif is_image_name(Path(path)) and not own:
                yield SourceRow(source=_url(files, path), relative=str(PurePosixPath(path).relative_to(root)))


def _url(files: Any, path: str) -> str:
    url: str = path if isinstance(files, LocalFileSystem) else files.unstrip_protocol(path)
    return url
