"""How fast photos of batches are fetched."""

from __future__ import annotations

from app.api.feed_pace import FeedPace


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def pause_s(pace: FeedPace, clock: Clock) -> float:
    """Let time go on until photos may be fetched; gives how long that took."""
    began_s = clock.now_s
    while not pace.may_fetch:
        clock.now_s += 0.5
    return clock.now_s - began_s


def test_places_halve_when_it_is_crowded_and_come_back_one_round_at_a_time() -> None:
    pace = FeedPace(8)
    assert pace.places == 8
    seen = []
    for _ in range(5):
        pace.was_crowded()
        seen.append(pace.places)
    assert seen == [4, 2, 1, 1, 1]
    pace.went_well()
    assert pace.places == 2
    for _ in range(100):
        pace.went_well()
    assert pace.places == 8


def test_pauses_grow_with_every_photo_that_found_no_room_after_one() -> None:
    clock = Clock()
    pace = FeedPace(8, clock)
    pauses = []
    for _ in range(8):
        for _ in range(3):  # those that were under way meet the same queue
            pace.found_no_room()
        pauses.append(pause_s(pace, clock))
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    pace.went_well(was_fetched=False)  # it needed no room
    pace.found_no_room()
    assert pause_s(pace, clock) == 60
    pace.went_well()
    pace.found_no_room()
    assert pause_s(pace, clock) == 2
