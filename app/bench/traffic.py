"""The same photos at the same moments through every policy, at several loads: the whole comparison."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from app.bench.arrivals import poisson
from app.bench.decoded import make_decoded
from app.bench.photos import SIZES
from app.bench.policies import Setting, make_policies
from app.bench.replay import Clock, ClosedLoop, OpenLoop, Served, replay
from app.errors import InvalidOptionError
from app.worker.runner import Runner


def compare_policies(
    setting: Setting,
    shares: Mapping[str, float],
    loads: Sequence[float],
    seconds: float,
    callers: int,
    jobs: int,
    seed: int = 0,
    make_clock: Callable[[], Clock] = Clock,
) -> Iterator[Served]:
    """Serve a closed loop with every policy, then Poisson arrivals at shares of the rate that ours reached in it.

    Args:
        setting: What all policies share.
        shares: How often each size comes.
        loads: Arrival rates as shares of the capacity; above 1 more comes than can be served.
        seconds: Length of each list of arrivals; what is left then is served to the end.
        callers: Of the closed loop.
        jobs: Of the closed loop, at least `callers`.
        seed: Of sizes and arrivals.
        make_clock: Gives the clock of one run.

    Raises:
        InvalidOptionError: A list of arrivals is empty, because it is too short for the rate.
    """
    sizes = draw_sizes(shares, jobs, seed)
    capacity = 0.0
    for served in serve_all(setting, lambda: ClosedLoop(sizes, callers), f"closed loop, {callers} callers", make_clock):
        capacity = capacity or served.photos_per_s  # the first is ours
        yield served
    for load in loads:
        arrivals = poisson(load * capacity, seconds, shares, seed)
        if not arrivals:
            raise InvalidOptionError(
                f"No photo comes within {seconds:g} s at {load * capacity:.3g} photos per second; make it longer."
            )
        yield from serve_all(
            setting, functools.partial(OpenLoop, arrivals), f"Poisson, {load:.0%} of capacity", make_clock
        )


def serve_all(
    setting: Setting,
    make_source: Callable[[], OpenLoop | ClosedLoop],
    load: str,
    make_clock: Callable[[], Clock] = Clock,
) -> Iterator[Served]:
    """Serve the same photos with every policy, one after the other, ours first."""
    megapixels = {name: photo.image[0, 0].numel() / 1e6 for name, photo in setting.photos.items()}
    for policy in make_policies(setting):
        yield replay(policy, make_source(), load, megapixels, make_clock())


def make_setting(
    runner: Runner, names: Sequence[str], steps: int, concurrency: int, timeout_s: float, whole_megapixels: float
) -> Setting:
    """The setting of a run over named sizes; see `Setting`."""
    photos = {name: make_decoded(SIZES[name], index) for index, name in enumerate(names)}
    return Setting(runner, photos, steps, concurrency, timeout_s, whole_megapixels)


def draw_sizes(shares: Mapping[str, float], count: int, seed: int) -> list[str]:
    """Names of sizes in random order, each as often as its share says, and at least once where there is room.

    Random numbers of each size would make the work of short lists a matter of luck.
    """
    total = sum(shares.values())
    exact = {name: count * share / total for name, share in shares.items()}
    numbers = {name: max(1, int(value)) for name, value in exact.items()}
    by_rest = itertools.cycle(sorted(exact, key=lambda name: int(exact[name]) - exact[name]))
    while sum(numbers.values()) < count:
        numbers[next(by_rest)] += 1
    names = [name for name, number in numbers.items() for _ in range(number)][:count]
    random.Random(seed).shuffle(names)  # noqa: S311  repeatable, not secret
    return names
