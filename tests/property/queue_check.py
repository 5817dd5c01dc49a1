"""Plays many random histories of the queue, and looks whether the laws notice broken scripts.

`python -m tests.property.queue_check`; `make model-check` is the long form.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.property.queue_clock import Clock, open_clocked_server
from tests.property.queue_laws import LAST_LAWS, LAWS
from tests.property.queue_machine import play
from tests.property.queue_mutants import MUTANTS, Mutant, hunt
from tests.property.queue_stage import Stage


def main() -> int:
    """Play, break, print what came out; 1 when a law is broken or a breakage is not noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=500, help="number of histories")
    parser.add_argument("--steps", type=int, default=60, help="rules in each of them")
    parser.add_argument("--mutant-examples", type=int, default=600, help="most histories for each broken script")
    parser.add_argument("--seed", type=int, default=1, help="of all random choices")
    parser.add_argument("--redis-server", default=None, help="which redis-server; default: the one of the tests")
    parser.add_argument("--only", default=None, help="broken scripts alone, those whose names have this text")
    arguments = parser.parse_args()
    with open_clocked_server(arguments.redis_server) as (server, clock):
        if arguments.only is None:
            check(Stage(server.url, clock), arguments.examples, arguments.steps, arguments.seed)
        wanted = [mutant for mutant in MUTANTS if (arguments.only or "") in mutant.name]
        missed = [
            mutant
            for mutant in wanted
            if not is_caught(mutant, server.url, clock, arguments.mutant_examples, arguments.steps, arguments.seed)
        ]
    say(f"{len(wanted) - len(missed)} of {len(wanted)} broken scripts noticed")
    return 1 if missed else 0


def check(stage: Stage, examples: int, steps: int, chosen_seed: int) -> None:
    """Play histories on the scripts as they are, and print the counts."""
    started_s = time.monotonic()
    play(stage, examples=examples, steps=steps, chosen_seed=chosen_seed)
    for name, count in sorted(stage.rules.items()):
        say(f"  {name:<32}{count:>8}")
    say(f"laws: {', '.join([*LAWS, *LAST_LAWS])}")
    clock = "moved forwards and back" if stage.clock.goes_back else "moved forwards (libfaketime is not installed)"
    say(
        f"{stage.examples} histories, {stage.rules.total()} steps, {len(LAWS)} laws after each step, {len(LAST_LAWS)} "
        f"at each end, clock {clock}, seed {chosen_seed}, {time.monotonic() - started_s:.0f} s: no law broken"
    )


def is_caught(mutant: Mutant, url: str, clock: Clock, examples: int, steps: int, chosen_seed: int) -> bool:
    """Break a script, play, and print what noticed it."""
    catch = hunt(mutant, Stage(url, clock), examples=examples, steps=steps, chosen_seed=chosen_seed)
    told = f"not noticed in {examples} histories" if catch is None else f"{catch.law}, history {catch.examples}"
    say(f"  {mutant.script:<10} {mutant.name:<52} {told}")
    return catch is not None


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
