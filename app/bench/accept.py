"""What accepting a photo costs: uploads to `POST /restore` and to a bare echo of uploads, in turns.

Both get the same bytes from the same client on the same machine, so that the ratio of their rates says what checking,
describing and storing a photo adds to reading it.
"""

from __future__ import annotations

import asyncio
import io
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import httpx
from PIL import Image

from app.bench.arrivals import percentile
from app.bench.photos import make_pixels
from app.bench.vitals import cpu_seconds
from app.client.errors import error_of, unreachable

_USUAL_BYTES, _USUAL_SIZE = 200_000, (1024, 768)
_TIMEOUT_S = 60.0
_WARM_UP_PER_CALLER = 5


@dataclass(frozen=True)
class Target:
    """Where uploads go.

    Attributes:
        name: In words.
        url: Address that takes a form with a file `image`.
        status: Status of its answer when all is well.
        pids: Processes behind it, by name.
    """

    name: str
    url: str
    status: int
    pids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AcceptLoad:
    """What is sent.

    Attributes:
        photo: The photo, as a file.
        requests: Uploads in one round to one target.
        rounds: Rounds; the targets take turns in each.
        callers: Connections that send at a time, each one upload after the other.
    """

    photo: bytes = field(repr=False)
    requests: int
    rounds: int
    callers: int


@dataclass
class Taken:
    """What one target took.

    Attributes:
        name: The target.
        rates: Uploads per second, of each round.
        latencies_s: Seconds from sending an upload to its answer, sorted.
        cpu_s: Processor time of the target's processes, by name; empty where the system does not tell.
    """

    name: str
    rates: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=dict)

    @property
    def requests_per_s(self) -> float:
        """Median rate of the rounds."""
        return statistics.median(self.rates)

    def percentile_ms(self, share: float) -> float:
        """Latency that a share of the uploads did not exceed."""
        return percentile(self.latencies_s, share) * 1000

    def cpu_ms(self) -> dict[str, float]:
        """Processor time per upload in milliseconds, of each process."""
        return {name: seconds * 1000 / len(self.latencies_s) for name, seconds in self.cpu_s.items()}


def make_photo(file_bytes: int) -> bytes:
    """Give a JPEG of about so many bytes and of the size that photos of so many bytes have.

    Args:
        file_bytes: Most bytes; the quality is the highest that keeps to them, or else the lowest there is.
    """
    scale = (file_bytes / _USUAL_BYTES) ** 0.5
    width, height = (max(16, round(side * scale)) for side in _USUAL_SIZE)
    picture = Image.fromarray(make_pixels((width, height), 0))

    def saved(quality: int) -> bytes:
        target = io.BytesIO()
        picture.save(target, "JPEG", quality=quality)
        return target.getvalue()

    low, high = 1, 95
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(saved(middle)) <= file_bytes else (low, middle - 1)
    return saved(low)


async def measure_accept(
    targets: tuple[Target, Target], load: AcceptLoad, between: Callable[[], Awaitable[None]]
) -> tuple[Taken, Taken]:
    """Send uploads to two targets in turns; who begins changes with every round.

    Args:
        targets: Where to.
        load: What.
        between: Called after every round, outside of what is timed, to make room.

    Raises:
        ServiceError: A target is away, or answers otherwise than it should.
    """
    form = httpx.Request("POST", "http://any", files={"image": ("photo.jpg", load.photo, "image/jpeg")})
    body, headers = form.read(), {"Content-Type": form.headers["Content-Type"]}  # encoded once, for all
    first, second = (Taken(target.name) for target in targets)
    pairs = ((targets[0], first), (targets[1], second))
    limits = httpx.Limits(max_connections=2 * load.callers, max_keepalive_connections=2 * load.callers)
    async with httpx.AsyncClient(limits=limits, timeout=_TIMEOUT_S) as client:

        async def send(target: Target) -> float:
            started = time.perf_counter()
            try:
                answer = await client.post(target.url, content=body, headers=headers)
            except httpx.TransportError as error:
                raise unreachable(httpx.URL(target.url), error) from error
            if answer.status_code != target.status:
                raise error_of(answer)
            return time.perf_counter() - started

        for target in targets:
            await _send_all(send, target, load.callers, load.callers * _WARM_UP_PER_CALLER)
        await between()
        for number in range(load.rounds):
            for target, taken in pairs[:: 1 if number % 2 == 0 else -1]:
                before = {name: cpu_seconds(pid) for name, pid in target.pids.items()}
                started = time.perf_counter()
                taken.latencies_s += await _send_all(send, target, load.callers, load.requests)
                taken.rates.append(load.requests / (time.perf_counter() - started))
                for name, pid in target.pids.items():
                    taken.cpu_s[name] = taken.cpu_s.get(name, 0.0) + cpu_seconds(pid) - before[name]
            await between()
    for taken in (first, second):
        taken.latencies_s.sort()
    return first, second


def ratio_of(accept: Taken, echo: Taken) -> float:
    """Give the median, over the rounds, of one rate over the other; what disturbs a round disturbs both."""
    return statistics.median(mine / other for mine, other in zip(accept.rates, echo.rates, strict=True))


async def _send_all(
    send: Callable[[Target], Awaitable[float]], target: Target, callers: int, requests: int
) -> list[float]:
    """Have callers send so many uploads in all; gives the seconds of each."""
    turns: Iterator[int] = iter(range(requests))
    seconds: list[float] = []

    async def call() -> None:
        for _ in turns:
            seconds.append(await send(target))  # noqa: PERF401  the callers share the turns

    await asyncio.gather(*(call() for _ in range(callers)))
    return seconds
