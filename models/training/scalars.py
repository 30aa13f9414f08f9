"""The CSV file with the figures of a training run, and the progress that callers are told."""

import csv
import time
from dataclasses import dataclass
from pathlib import Path

from models.training.trainer import Step, Trainer

COLUMNS = ("step", "seconds", "crops_per_second", "loss", "gradient_norm", "rate", "skipped")


@dataclass(frozen=True)
class TrainingProgress:
    """How far a run is.

    Attributes:
        step: Number of steps done.
        seconds: Computing time of all sessions.
        done: Share of the schedule that is done, 0 to 1.
        loss: Mean loss of the latest steps.
        crops_per_second: Speed of the latest steps.
        skipped: Number of steps skipped since the beginning.
    """

    step: int
    seconds: float
    done: float
    loss: float
    crops_per_second: float
    skipped: int


class Scalars:
    """Writes the CSV file of a run, one row for several steps."""

    def __init__(self, path: Path, trainer: Trainer) -> None:
        """Open the file, and drop rows of steps after the one that the trainer resumes from."""
        rows: list[list[str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if row and row[0].isdigit() and int(row[0]) <= trainer.steps]
        self.path, self.trainer = path, trainer
        self.since: list[Step] = []
        self.began = time.monotonic()
        self.loss, self.crops_per_second = float("nan"), 0.0
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])

    def add(self, step: Step) -> None:
        """Add the figures of a step to the next row."""
        self.since.append(step)

    def write(self, seconds: float, done: float) -> TrainingProgress:
        """Write a row about the steps since the last row, if there were any, and return the progress.

        Args:
            seconds: Computing time of all sessions.
            done: Share of the schedule that is done, 0 to 1.
        """
        if good := [step for step in self.since if not step.skipped]:
            self.loss = sum(step.loss for step in good) / len(good)
            self.crops_per_second = len(self.since) * self.trainer.recipe.batch / max(time.monotonic() - self.began, 1e-9)
            norm = sum(step.gradient_norm for step in good) / len(good)
            figures = (
                f"{seconds:.1f}",
                f"{self.crops_per_second:.2f}",
                f"{self.loss:.5f}",
                f"{norm:.4f}",
                f"{good[-1].rate:.5f}",
            )
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow((self.trainer.steps, *figures, self.trainer.skipped))
        self.since, self.began = [], time.monotonic()
        return TrainingProgress(self.trainer.steps, seconds, done, self.loss, self.crops_per_second, self.trainer.skipped)
