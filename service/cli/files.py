"""Many files, one after the other: which there are, where each result goes, and one file from bytes to bytes."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from service import version
from service.denoising.pipeline import Options, SigmaRange, Treated, treat, treat_with
from service.errors import ServiceError
from service.imaging.codec import decode, encode, probe
from service.imaging.metadata import Keep, prepared, software_text
from service.imaging.picture import SUFFIXES, Depth, Format, Limits, Plane

Progress = Callable[[float], None]
Denoise = Callable[[Plane, float, Progress], Plane]


@dataclass(frozen=True, slots=True)
class Source:
    """One file to denoise.

    Attributes:
        path: Where it is.
        relative: Its path below the output folder.
    """

    path: Path
    relative: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    Attributes:
        target: Where the result is, or None if there is none.
        treated: What was done, or None.
        problem: Why there is no result; empty if there is one.
    """

    source: Source
    target: Path | None = None
    treated: Treated | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to do with every file.

    Attributes:
        denoise: Denoises a plane at a sigma on the [0, 1] scale, and tells how far it is, from 0 to 1.
        sigma_range: What the model was trained for, on the 0-255 scale.
        model: Its name.
        weights_sha256: Of its weights; None for a method that has none.
        options: Sigma, color, strength, ensemble.
        file_format: Of the result; None as it came.
        depth: Likewise.
        metadata: Which to keep.
        limits: Past which a file is refused.
    """

    denoise: Denoise
    sigma_range: SigmaRange
    model: str
    weights_sha256: str | None
    options: Options
    file_format: Format | None = None
    depth: Depth | None = None
    metadata: Keep = "no-gps"
    limits: Limits = field(default_factory=Limits)

    def apply(self, data: bytes, progress: Progress = lambda _: None) -> tuple[bytes, Treated]:
        """Denoise one file, from bytes to bytes.

        Raises:
            ServiceError: If it cannot be decoded, treated or encoded.
        """
        picture = decode(data, self.limits)
        treated = treat_with(
            treat(picture, self.options, self.sigma_range),
            lambda run: self.denoise(run.plane, run.sigma, lambda part: progress((run.index + part) / run.count)),
        )
        software = software_text(version(), self.model, treated.sigma, self.weights_sha256)
        result = replace(treated.picture, metadata=prepared(picture.metadata, self.metadata, software))
        return encode(result, self.file_format, self.depth), treated

    def suffix(self, data: bytes, name: str) -> str:
        """The suffix of a result: that of the source where it fits the format of the result.

        Raises:
            ServiceError: If the header is refused.
        """
        fitting = SUFFIXES[self.file_format or probe(data, self.limits).format]
        own = Path(name).suffix
        return own if own.lower() in fitting else fitting[0]


def find_sources(inputs: Iterable[Path], out: Path) -> Iterator[Source]:
    """All files given, and all images by suffix below the folders given, in name order, but for those in the output folder."""
    known = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
    for given in inputs:
        if not given.is_dir():
            yield Source(given, Path(given.name))
            continue
        for folder, folders, names in os.walk(given):
            folders[:] = sorted(name for name in folders if (Path(folder) / name).resolve() != out.resolve())
            for name in sorted(names):
                path = Path(folder) / name
                if path.suffix.lower() in known:
                    yield Source(path, path.relative_to(given))


def denoise_files(
    sources: Iterable[Source], out: Path, recipe: Recipe, overwrite: bool, progress: Progress = lambda _: None
) -> Iterator[Outcome]:
    """Denoise files one after the other; one that fails does not keep the others from being done.

    Args:
        sources: As found.
        out: Folder of the results, made if it is not there.
        recipe: What to do with each.
        overwrite: Whether a file that is there already may be replaced, but never by two sources of one name.
        progress: Told how far the present file is.

    Yields:
        An outcome each, in the order of the sources.
    """
    written: set[Path] = set()
    for source in sources:
        try:
            data = source.path.read_bytes()
            target = (out / source.relative).with_suffix(recipe.suffix(data, source.path.name))
            if target in written:
                raise FileExistsError("two sources would be written to one file")
            if target.exists() and not overwrite:
                raise FileExistsError(f"{target} exists; --force replaces it")
            result, treated = recipe.apply(data, progress)
            write_whole(target, result)
            written.add(target)
            yield Outcome(source, target, treated)
        except ServiceError as error:
            yield Outcome(source, problem=error.detail)
        except OSError as error:
            yield Outcome(source, problem=error.strerror or str(error))


def write_whole(target: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        part = Path(file.name)
        try:
            file.write(data)
            file.close()
            part.chmod(0o666 & ~_umask())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
