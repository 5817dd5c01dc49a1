from __future__ import annotations

from app.jobs.server import MINIMUM, ServerFacts, read_info

GOOD = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1, "cluster_enabled": 0}


def test_a_server_as_it_should_be_has_no_warnings() -> None:
    assert read_info(GOOD) == ServerFacts((7, 2, 4), ())


def test_what_an_operator_should_change_is_named() -> None:
    facts = read_info(GOOD | {"maxmemory_policy": "allkeys-lru", "aof_enabled": 0})
    assert [("noeviction" in text, "appendonly" in text) for text in facts.warnings] == [(True, False), (False, True)]


def test_a_cluster_used_as_one_server_is_named() -> None:
    assert read_info(GOOD | {"cluster_enabled": 1}, is_located=True).warnings == ()
    (warning,) = read_info(GOOD | {"cluster_enabled": 1}, is_located=False).warnings
    assert "redis+cluster://" in warning


def test_fields_that_a_managed_server_hides_say_nothing() -> None:
    facts = read_info({})
    assert (facts.version, facts.warnings) == (None, ())


def test_versions_are_compared_as_numbers() -> None:
    assert read_info({"redis_version": "10.0"}).version == (10, 0, 0)
    assert read_info({"redis_version": "6.0.16"}).version == (6, 0, 16) < MINIMUM < (10, 0, 0)
    assert read_info({"redis_version": "unknown"}).version is None
