from __future__ import annotations

import pytest

from app.jobs.webhook import WEBHOOK_EVENTS, Webhook, parse_webhook_events


def test_events_come_in_one_order_and_each_once() -> None:
    assert parse_webhook_events(["job.failed", " job.succeeded", "job.failed"]) == ("job.succeeded", "job.failed")
    assert parse_webhook_events(WEBHOOK_EVENTS) == WEBHOOK_EVENTS == Webhook("https://a.example/").events


@pytest.mark.parametrize("names", [[], [""], ["job.started"], ["job.failed", "x" * 1000]])
def test_other_events_are_refused_with_those_there_are(names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"there are job\.succeeded, job\.failed") as caught:
        parse_webhook_events(names)
    assert len(str(caught.value)) < 300
