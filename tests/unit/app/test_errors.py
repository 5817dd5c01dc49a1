from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from app.errors import QueueFullError, ResultNotReadyError, ServiceError


def tree(base: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield base
    for child in base.__subclasses__():
        yield from tree(child)


# What other modules derive from these has their codes, and is there or not by what else was imported.
CLASSES = sorted(
    (cls for cls in tree(ServiceError) if cls.__module__.startswith("app.errors.")), key=lambda cls: cls.__name__
)


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in CLASSES]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("cls", CLASSES)
def test_each_kind_has_a_public_face(cls: type[ServiceError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)
    assert 400 <= cls.status <= 599
    assert cls.title
    assert not cls.title.endswith(".")


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls.status in (429, 503) and cls.retryable])
def test_overload_says_when_to_come_back(cls: type[ServiceError]) -> None:
    assert cls("busy").retry_after_s


def test_detail_defaults_to_title() -> None:
    assert ServiceError().detail == str(ServiceError()) == ServiceError.title


def test_delay_of_the_instance_wins() -> None:
    assert QueueFullError("x", retry_after_s=9.0).retry_after_s == 9.0


def test_result_not_ready_is_worth_asking_again_only_while_the_job_lives() -> None:
    running, failed = ResultNotReadyError("running"), ResultNotReadyError("failed")
    assert running.retryable
    assert running.retry_after_s
    assert not failed.retryable
    assert failed.retry_after_s is None
    assert "failed" in failed.detail
