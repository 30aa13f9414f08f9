"""Run the studies: `python -m studies [NAME ...]`."""

import argparse
import importlib
import time
from pathlib import Path

from studies.report import PAGES, Options

STUDIES = ("selection", "selection_numerics", "selection_cost", "entanglement", "attention", "small_budget", "comparison")


def main() -> None:
    """Run the named studies, or all of them one after the other."""
    parser = argparse.ArgumentParser(
        prog="python -m studies", description="Run the studies; plots and tables go to docs/studies."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"studies to run; all by default: {', '.join(STUDIES)}")
    parser.add_argument("--data", type=Path, help="folder with the IDX files of MNIST, instead of scikit-learn's digits")
    parser.add_argument(
        "--images",
        type=Path,
        help="folder of photographs to train the small denoisers on, instead of scikit-image's and scikit-learn's",
    )
    parser.add_argument("--out", type=Path, default=PAGES, help="folder of the pages and plots (docs/studies by default)")
    parser.add_argument(
        "--quick", action="store_true", help="use tiny sizes, only to check that everything runs; the figures mean nothing"
    )
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(STUDIES)):
        parser.error(f"no such study: {', '.join(unknown)}")
    options = Options(arguments.out, arguments.quick, arguments.data, arguments.images)
    start = time.perf_counter()
    for name in arguments.names or STUDIES:
        print(f"== {name}", flush=True)
        began = time.perf_counter()
        importlib.import_module(f"studies.{name}").run(options)
        print(f"== {name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"all studies: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
