"""Deliberate breakages of the scripts, to see that the laws and the model notice them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.jobs.queue import JobQueue
from tests.property.queue_history import LawBrokenError
from tests.property.queue_machine import play
from tests.property.queue_stage import Stage


@dataclass(frozen=True)
class Mutant:
    """A script with a part replaced.

    Attributes:
        name: What is broken.
        script: File of `app/jobs/lua`, without its ending.
        old: Text that is there, once.
        new: Text in its place.
    """

    name: str
    script: str
    old: str
    new: str


SAME = "job.state == state"
DELETE = 'redis.call("XDEL", STREAM[job.priority], job.entry)\n'

MUTANTS = (
    Mutant("commits ignore the fence", "prelude", 'job.state == "running" and job.attempt == tonumber(fence)', "true"),
    Mutant("commits ignore who was given the fence", "prelude", "job.entry == entry and job.owner == owner", "true"),
    Mutant("repetitions ignore the fence", "prelude", "job.state == state and job.attempt == tonumber(fence)", SAME),
    Mutant("renewals take any claim", "renew", "load_held(arg(1), arg(2), entry, arg(4))", "load_job(arg(1))"),
    Mutant("live leases are taken over", "claim", '"IDLE", LEASE_MS', '"IDLE", 0'),
    Mutant("the fence does not rise", "claim", '"attempt", 1)', '"attempt", 0)'),
    Mutant("deliveries are not counted", "claim", "(counted and 1 or 0)", "0"),
    Mutant("deliveries are not bounded", "claim", "counted and job.deliveries >= MAX_DELIVERIES", "false"),
    Mutant("lost answers count", "claim", "not (is_lost_answer and job.owner == owner)", "true"),
    Mutant("a restart counts as a lost answer", "claim", "is_lost_answer and job.owner == owner", "is_lost_answer"),
    Mutant("canceled jobs are given out", "claim", "cancel_requested then\n    drop", "is_never then\n    drop"),
    Mutant("a claimed job stays in the depth", "claim", 'redis.call("ZREM", QUEUED[priority], id)', ""),
    Mutant("an ended job stays in the depth", "prelude", 'redis.call("ZREM", QUEUED[job.priority], job.id)', ""),
    Mutant("canceled jobs succeed", "finish", "cancel_requested then\n  conclude", "is_never then\n  conclude"),
    Mutant("commits are not acknowledged", "finish", "drop_entry(job.priority, job.entry)\nif", "if"),
    Mutant("a repeated commit is refused", "finish", 'fence, "succeeded")', 'fence, "failed")'),
    Mutant("a repeated commit keeps its result", "finish", "keep_result(id, fence, redis", "tostring(redis"),
    Mutant("refused results stay", "finish", 'redis.call("UNLINK", RESULT .. id .. ":" .. fence)', ""),
    Mutant("retries go on for ever", "fail", "job.deliveries >= MAX_DELIVERIES", "false"),
    Mutant("handing back counts", "hand_back", "job.deliveries - 1", "job.deliveries"),
    Mutant("retiring drops what is held", "retire", "requeue(job, job.deliveries - 1)", ""),
    Mutant("canceling deletes an entry", "cancel", '  conclude(job, "canceled"', f'{DELETE}  conclude(job, "canceled"'),
    Mutant(
        "settling leaves holes in the stream", "prelude", '"XTRIM", stream, "MINID", first', '"XDEL", stream, entry'
    ),
    Mutant("what waits is trimmed", "prelude", '"XTRIM", stream, "MINID", first', '"XTRIM", stream, "MAXLEN", 0'),
    Mutant("a purge leaves the job in the listing", "purge", "job.state, member)\nredis", "0, member)\nredis"),
    Mutant("the listing keeps old states", "prelude", "job.state, member)\n  enlist", "0, member)\n  enlist"),
)


@dataclass(frozen=True)
class Catch:
    """How a mutant was noticed.

    Attributes:
        law: The law that was broken, or what else was not as expected.
        examples: Histories that were played until then.
    """

    law: str
    examples: int


def alter_by(mutant: Mutant) -> Callable[[JobQueue], None]:
    """Give what puts a mutant's text into a queue.

    The result raises ValueError when the text to replace is not there once.
    """

    def alter(queue: JobQueue) -> None:
        scripts = queue._scripts._scripts
        names = list(scripts) if mutant.script == "prelude" else [mutant.script]
        for name in names:
            text = str(scripts[name].script)
            if text.count(mutant.old) != 1:
                raise ValueError(
                    f"mutant {mutant.name!r}: {mutant.script}.lua has {mutant.old!r} {text.count(mutant.old)} times, "
                    "expected once; write the mutant anew for the script as it is now"
                )
            scripts[name] = queue._redis.register_script(text.replace(mutant.old, mutant.new))

    return alter


def hunt(mutant: Mutant, stage: Stage, *, examples: int, steps: int, chosen_seed: int) -> Catch | None:
    """Play histories on a broken queue; gives how that was noticed, or None when it was not.

    Raises:
        ValueError: The scripts are no longer such that they can be broken in this way.
    """
    stage.alter = alter_by(mutant)
    try:
        play(stage, examples=examples, steps=steps, chosen_seed=chosen_seed, is_hunt=True)
    except LawBrokenError as error:
        return Catch(error.law, stage.examples)
    except AssertionError as error:
        return Catch(str(error).partition("\n")[0] or "an answer is not as expected", stage.examples)
    return None
