from __future__ import annotations

from app.jobs.keys import Keys


def all_names(keys: Keys) -> list[str]:
    job = "0" * 32
    per_job = [
        keys.job(job),
        keys.events(job),
        keys.image(job),
        keys.mask(job),
        keys.result(job, 3),
        keys.listening(job),
        keys.idempotency("k"),
        keys.batch(job),
        keys.delivery("msg_1"),
        keys.deliveries(job),
        keys.endpoint("e"),
        *(keys.listed("t", state) for state in ("queued", "running")),
    ]
    return keys.script_keys() + per_job


def test_all_names_share_one_hash_tag() -> None:
    assert all(name.startswith("{vlmir}:") for name in all_names(Keys()) + all_names(Keys("blue")))


def test_names_differ_within_and_between_namespaces() -> None:
    names = all_names(Keys()) + all_names(Keys("blue")) + all_names(Keys("green"))
    assert len(names) == len(set(names))


def test_script_keys_are_the_beginnings_of_the_names_of_jobs() -> None:
    keys = Keys("x")
    beginnings = keys.script_keys()[7:14]
    for name in (
        keys.job("a"),
        keys.events("a"),
        keys.image("a"),
        keys.mask("a"),
        keys.result("a", 1),
        keys.listening("a"),
        keys.listed("t", "queued"),
    ):
        assert sum(name.startswith(beginning) for beginning in beginnings) == 1
