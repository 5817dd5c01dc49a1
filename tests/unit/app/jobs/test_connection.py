from __future__ import annotations

import pytest
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.errors import QueueUnavailableError, UnusableRedisError
from app.jobs.connection import connect, translated_errors, unavailable_reason
from app.jobs.locating import NotLocatedError


@pytest.mark.parametrize(
    "error",
    [
        RedisConnectionError("Error 111 connecting"),
        RedisTimeoutError("Timeout reading"),
        BusyLoadingError("Redis is loading the dataset in memory"),
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        MasterDownError("Link with MASTER is down"),
        ClusterDownError("The cluster is down"),
        TryAgainError("Multiple keys request during rehashing of slot"),
        AskError("7 127.0.0.1:7000"),
        MovedError("7 127.0.0.1:7000"),
        ConnectionRefusedError(111, "refused"),
    ],
)
def test_errors_that_mean_not_now_become_queue_unavailable(error: Exception) -> None:
    with pytest.raises(QueueUnavailableError) as caught, translated_errors():
        raise error
    assert caught.value.status == 503
    assert caught.value.retryable
    assert caught.value.retry_after_s
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'. script: 1, on @user_script:1.", "OOM"),
        ("Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed", "OOM"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "MISCONF"),
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN"),
        ("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)", "UNBLOCKED"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
        ("ERR unknown command, with args beginning with: OOM", None),
        ("", None),
    ],
)
def test_reason_is_found_at_the_start_or_inside_a_script_error(message: str, reason: str | None) -> None:
    assert unavailable_reason(message) == reason


def test_who_does_not_know_where_the_queue_is_and_why_is_told() -> None:
    with pytest.raises(QueueUnavailableError, match=r"h:26379: knows no master 'x'"), translated_errors():
        raise RedisConnectionError("as the client wraps it") from NotLocatedError("h:26379: knows no master 'x'")


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@host/?db=one",
        "redis+sentinel://:secret@host/x?max_connections=y",
        "redis://:secret@host?ssl_ca_certs=/a",
        "redis+cluster://:secret@host?colour=red",
        "unix:///a.sock?password=secret&colour=red",
    ],
)
def test_options_of_an_address_that_mean_nothing_are_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UnusableRedisError, match="behind a question mark") as refused:
        connect(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(ResponseError, match="WRONGTYPE"), translated_errors():
        raise ResponseError("WRONGTYPE Operation against a key")
