"""Run the passes of a picture with a stand-in for the network."""

from collections.abc import Callable

from service.denoising.pipeline import DenoisedPicture, Pass, Passes
from service.imaging.picture import Plane


def denoise_with(passes: Passes, denoise: Callable[[Pass], Plane]) -> DenoisedPicture:
    """Run all passes with the same function."""
    step = advance(passes, None)
    while isinstance(step, Pass):
        step = advance(passes, denoise(step))
    return step


def advance(passes: Passes, denoised: Plane | None) -> Pass | DenoisedPicture:
    """Send a denoised plane (None at the start); return the next pass or the result."""
    try:
        return passes.send(denoised)  # type: ignore[arg-type]  # only the first send is None
    except StopIteration as end:
        picture: DenoisedPicture = end.value
        return picture


def sigma_of(each: Pass) -> float:
    """Return the sigma of a pass for white noise, on the [0, 1] scale."""
    assert isinstance(each.sigma, float | int)
    return each.sigma
