"""Every policy serves every photo; what sets each apart is the order and how full its forwards are."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.bench.arrivals import Arrival
from app.bench.decoded import make_decoded
from app.bench.policies import OneByOne, Setting, StaticBatching, StepBatching, make_policies
from app.bench.replay import ClosedLoop, OpenLoop, Request, SkippingClock, Source
from app.bench.traffic import compare_policies, draw_sizes, serve_all
from app.bench.whole import STATIC_BATCH
from app.errors import InvalidOptionError
from app.worker.runner import Runner
from tests.support.workers import tiny_runner

LARGE_TILES = 4 * 3  # of 64 px that overlap by 8


@pytest.fixture(scope="module")
def runner() -> Runner:
    runner = tiny_runner(batch_tiles=4)
    runner.warm_up()
    runner.batch_tiles = 4  # whatever this machine prefers
    return runner


@pytest.fixture
def setting(runner: Runner) -> Setting:
    photos = {"small": make_decoded((64, 64), 0), "large": make_decoded((200, 160), 1)}
    return Setting(runner, photos, steps=2, timeout_s=5.0, whole_megapixels=0.007)  # the large one is above it


def test_step_level_batching_lets_a_small_photo_overtake_a_large_one(setting: Setting) -> None:
    policy = StepBatching(setting)
    large, small = Request(0, "large", 0.0), Request(1, "small", 0.0)
    policy.offer(large)
    policy.offer(small)
    ended: list[Request] = []
    while policy.wait_s(0.0) == 0:
        ended += policy.work(0.0)
    assert ended == [small, large]
    assert policy.slots.used == 2 * (LARGE_TILES + 1)
    assert policy.wait_s(0.0) is None


def test_step_level_batching_works_on_no_more_photos_than_it_may(setting: Setting) -> None:
    policy = StepBatching(Setting(setting.runner, setting.photos, steps=1, concurrency=1))
    requests = [Request(index, "small", 0.0) for index in range(2)]
    for request in requests:
        policy.offer(request)
    assert policy.work(0.0) == [requests[0]]
    assert policy.work(0.0) == [requests[1]]
    assert policy.slots.occupancy == 1 / 4  # one tile at a time, though four would have had room


def test_one_at_a_time_keeps_the_order_of_arrival(setting: Setting) -> None:
    for is_whole in (False, True):
        policy = OneByOne("one", setting, is_whole)
        requests = [Request(0, "large", 0.0), Request(1, "small", 0.0)]
        for request in requests:
            policy.offer(request)
        assert policy.work(0.0) + policy.work(0.0) == requests
        assert policy.wait_s(0.0) is None
        assert policy.slots.occupancy == 2 * (LARGE_TILES + 1) / (2 * LARGE_TILES + 2 * (1 if is_whole else 4))


def test_static_batching_waits_for_equals_or_for_its_time_to_run_out(setting: Setting) -> None:
    policy = StaticBatching(setting)
    requests = [Request(index, "small", 1.0 + index) for index in range(STATIC_BATCH)]
    policy.offer(requests[0])
    assert policy.work(2.0) == []
    assert policy.wait_s(2.0) == 4.0
    for request in requests[1:]:
        policy.offer(request)
    assert policy.wait_s(2.0) == 0
    assert policy.work(2.0) == requests
    assert policy.slots.occupancy == 1
    late = Request(9, "small", 10.0)
    policy.offer(late)
    assert policy.work(14.9) == []
    assert policy.work(15.0) == [late]
    assert policy.slots.occupancy == pytest.approx((STATIC_BATCH + 1) / (2 * STATIC_BATCH))
    assert policy.wait_s(15.0) is None


def test_static_batching_does_not_let_photos_above_its_memory_wait(setting: Setting) -> None:
    policy = StaticBatching(setting)
    large = Request(0, "large", 0.0)
    policy.offer(large)
    assert policy.work(0.0) == [large]


def test_every_policy_serves_the_same_photos(setting: Setting) -> None:
    arrivals = [Arrival(0.0, "small"), Arrival(0.0, "large"), Arrival(0.5, "small")]
    sources: list[Callable[[], Source]] = [
        lambda: OpenLoop(arrivals),
        lambda: ClosedLoop(["small", "large", "small"], 2),
    ]
    for source in sources:
        rows = list(serve_all(setting, source, "load", SkippingClock))
        assert [row.policy for row in rows] == [policy.name for policy in make_policies(setting)]
        for row in rows:
            assert {latency.size: latency.count for latency in row.latencies} == {"small": 2, "large": 1}
            assert row.megapixels_per_s * row.seconds == pytest.approx((2 * 64 * 64 + 200 * 160) / 1e6)
            assert 0 < row.occupancy <= 1


def test_too_short_a_list_of_arrivals_is_an_error(setting: Setting) -> None:
    with pytest.raises(InvalidOptionError, match="make it longer"):
        list(compare_policies(setting, {"small": 1.0}, [1e-9], 1e-6, 1, 1, make_clock=SkippingClock))


def test_sizes_are_drawn_by_their_shares_and_every_size_comes() -> None:
    names = draw_sizes({"thumbnail": 4.0, "512": 4.0, "24 MP": 0.1}, 20, seed=3)
    assert sorted({name: names.count(name) for name in names}.items()) == [("24 MP", 1), ("512", 9), ("thumbnail", 10)]
    assert names == draw_sizes({"thumbnail": 4.0, "512": 4.0, "24 MP": 0.1}, 20, seed=3)
