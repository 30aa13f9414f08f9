"""The fair queue against a simulation of equal sharing that shares no code with it."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.fair_queue import FairQueue, Place

Queue = FairQueue[Place]


def place(pixels: int, deadline: float = 0.0) -> Place:
    return Place(pixels=pixels, deadline=deadline, runnable=True)


def shared_ends(jobs: list[tuple[int, int]]) -> list[float]:
    """Return when each (arrival, pixels) ends on a device that computes one pixel per second and shares it equally."""
    left = {index: float(pixels) for index, (_, pixels) in enumerate(jobs)}
    ends = [0.0] * len(jobs)
    now = 0.0
    while left:
        present = [index for index in left if jobs[index][0] <= now + 1e-9]
        coming = [jobs[index][0] for index in left if jobs[index][0] > now + 1e-9]
        if not present:
            now = min(coming)
            continue
        step = min([left[index] for index in present]) * len(present)
        step = min([step, *(arrival - now for arrival in coming)])
        now += step
        for index in present:
            left[index] -= step / len(present)
            if left[index] < 1e-9:
                ends[index] = now
                del left[index]
    return ends


def served_ends(jobs: list[tuple[int, int]], strip: int) -> list[float]:
    """Return when each (arrival, pixels) ends with the strips that the fair queue picks."""
    queue, now, ends = Queue(interleave=len(jobs)), 0, [0.0] * len(jobs)
    places = [place(pixels) for _, pixels in jobs]
    order = sorted(range(len(jobs)), key=lambda index: jobs[index][0])
    while order or queue.places:
        while order and jobs[order[0]][0] <= now:
            queue.add(places[order.pop(0)])
        taken = queue.take()
        if taken is None:
            now = jobs[order[0]][0]
            continue
        pixels = min(strip, int(taken.left))
        now += pixels
        queue.serve(taken, pixels)
        if taken.left == 0:
            queue.remove(taken)
            ends[places.index(taken)] = now
    return ends


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=8), st.integers(1, 5))
def test_no_image_ends_more_than_a_strip_later_than_under_equal_sharing(jobs: list[tuple[int, int]], strip: int) -> None:
    for ours, shared in zip(served_ends(jobs, strip), shared_ends(jobs), strict=True):
        assert ours <= shared + strip + 1e-6


def test_a_small_image_overtakes_a_large_one_within_a_strip() -> None:
    queue, large, small = Queue(4), place(1000), place(10)
    queue.add(large)
    assert queue.take() is large
    queue.serve(large, 100)
    queue.add(small)
    assert queue.take() is small
    queue.serve(small, 10)
    queue.remove(small)
    assert queue.take() is large


def test_a_large_image_does_not_starve_behind_a_stream_of_small_ones() -> None:
    queue, large = Queue(4), place(100)
    queue.add(large)
    for _ in itertools.repeat(None, 400):  # small images that arrive as fast as the device can compute them
        small = place(10)
        queue.add(small)
        while small in queue.places:
            taken = queue.take()
            assert taken is not None
            queue.serve(taken, 10)
            if taken.left == 0:
                queue.remove(taken)
    assert large not in queue.places


def test_few_images_are_started_and_not_finished() -> None:
    queue = Queue(interleave=2)
    for pixels in (1000, 800, 600, 500):  # each is due before those added earlier
        queue.add(place(pixels))
        taken = queue.take()
        assert taken is not None
        queue.serve(taken, 1)
    assert sum(each.started for each in queue.places) == 2
    queue.add(place(450))  # more than half the size of one that has started
    taken = queue.take()
    assert taken is not None
    assert taken.started
    queue.add(small := place(400))
    assert queue.take() is small


def test_an_image_that_is_not_decoded_yet_is_passed_over() -> None:
    queue, later = Queue(4), place(1000)
    queue.add(Place(pixels=10, deadline=0.0))
    queue.add(later)
    assert queue.take() is later


def test_finishes_foresees_who_is_delayed() -> None:
    queue = Queue(4)
    queue.add(place(100, deadline=1.0))
    queue.add(place(300, deadline=2.0))
    assert queue.finishes(200, 3.0) == [(300, 3.0), (600, 2.0)]
    assert queue.pixels == 400


def test_images_whose_pixels_cost_less_are_due_earlier() -> None:
    queue, cheap = Queue(4), Place(pixels=400, cost=0.1, deadline=1.0, runnable=True)
    queue.add(place(100, deadline=2.0))
    queue.add(cheap)
    assert queue.take() is cheap
    assert (queue.pixels, queue.work) == (500, 140)
    assert queue.finishes(50, 3.0) == [(90, 3.0), (190, 2.0)]
    queue.serve(cheap, 400)
    assert (queue.pixels, queue.work) == (100, 100)


def test_an_image_that_left_delays_nobody() -> None:
    queue, gone, stays = Queue(4), place(10), place(1000)
    queue.add(gone)
    queue.add(stays)
    queue.remove(gone)
    queue.remove(gone)
    assert queue.take() is stays
    assert queue.pixels == 1000


def test_an_image_whose_work_turns_out_smaller_is_due_earlier() -> None:
    queue, small, large = Queue(4), place(200), place(300)
    for each in (small, large):
        queue.add(each)
    queue.serve(large, 20)
    due = large.due
    queue.revise(large, 280, 1.0)
    assert large.due == due, "nothing new"
    assert queue.take() is small
    queue.revise(large, 1000, 0.1)
    assert queue.take() is large
    assert (queue.pixels, queue.work) == (1200, 300)
    queue.revise(large, 400, 1.0)
    assert queue.take() is small
    assert queue.finishes(1, 0.0) == [(1, 0.0), (201, 0.0), (601, 0.0)]


def test_an_image_with_more_work_than_was_known_shares_the_device_again() -> None:
    queue, first, other = Queue(4), place(10), place(100)
    for each in (first, other):
        queue.add(each)
    queue.serve(first, 10)
    queue.serve(other, 10)  # equal sharing would have finished the first one now
    queue.revise(first, 50, 1.0)
    assert queue.take() is first
    queue.serve(first, 50)
    assert first.left == 0
    queue.remove(first)
    assert queue.take() is other
