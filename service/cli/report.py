"""What the command line tells about many files: the overall progress, and a line for each file."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.files import Outcome
from service.denoising.pipeline import DenoisedPicture


def progress_bar() -> Progress:
    """Return a progress bar on standard error that counts files."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=Console(stderr=True, soft_wrap=True))


def line_of(outcome: Outcome) -> str:
    """Describe the outcome for a file in one line."""
    if outcome.denoised is None:
        return f"FAILED {outcome.source.path}: {outcome.problem}"
    return f"{outcome.source.path} -> {outcome.target} ({notes_on(outcome.denoised)})"


def notes_on(denoised: DenoisedPicture) -> str:
    """Describe in a few words how a picture was denoised."""
    notes = [denoised.model] if denoised.model else []
    notes.append(f"sigma {denoised.sigma:.1f}")
    if photons := denoised.photon_noise:
        notes.append(f"gain {photons.gain:.3g}, read noise {photons.read_noise:.3g}, offset {photons.offset:.3g}")
    if denoised.estimate:
        notes.append(f"estimated with confidence {denoised.estimate.confidence:.2f}")
    return ", ".join([*notes, *denoised.warnings])
