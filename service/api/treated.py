"""Runs a treatment with the engine as its network."""

from service.api.context import State
from service.api.schemas import TreatmentOptions
from service.denoising.pipeline import Options, Run, Treated, advance, treat
from service.engine.backend import Facts
from service.engine.compute_thread import Ticket
from service.imaging.picture import Picture


def treatment_options(options: TreatmentOptions) -> Options:
    """The options as the treatment takes them."""
    sigma = None if options.sigma == "auto" else options.sigma
    return Options(sigma, options.color, options.strength, options.ensemble)


async def run_treatment(state: State, ticket: Ticket, picture: Picture, options: Options, facts: Facts) -> Treated:
    """Denoise a picture: arithmetic on the codec threads, each run of the model on its device, under one ticket.

    Raises:
        ServiceError: As `treat` and `Engine.denoise`.
    """
    steps = treat(picture, options, facts.sigma_range)
    step = await state.codec("treat", advance, steps, None)
    while isinstance(step, Run):
        denoised = await state.engine.denoise(ticket, step.plane, step.sigma, facts.model)
        step = await state.codec("treat", advance, steps, denoised)
    if step.estimate is not None:
        state.metrics.estimated_sigma.observe(step.sigma)
    return step
