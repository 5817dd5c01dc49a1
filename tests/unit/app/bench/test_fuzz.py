"""Hostile uploads are the same for the same seed, and a process that dies, hangs or errs is noticed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.bench.fuzz import fuzz
from app.bench.hostile import take
from app.bench.mutate import CHANGES, make_hostile, originals
from app.bench.refusals import measure_refusals
from app.commands.bench import app

FILES = 120


def test_hostile_uploads_are_made_anew_by_seed_and_number() -> None:
    first = [make_hostile(index, 3) for index in range(1, 40)]
    assert first == [make_hostile(index, 3) for index in range(1, 40)]
    assert {change for change, _ in first} == set(CHANGES)
    others = [make_hostile(index, 4) for index in range(1, 40)]
    assert sum(a[1] != b[1] for a, b in zip(first, others, strict=True)) > 30
    changed = sum(data not in originals() for _, data in first)
    assert changed > 35


@pytest.mark.filterwarnings("ignore")
def test_originals_are_restored_so_that_refusals_are_due_to_the_damage() -> None:
    assert {take(original) for original in originals()} == {"restored"}


def test_hostile_uploads_end_in_refusals_or_photos() -> None:
    done: list[int] = []
    found = fuzz(FILES, 0, done.append)
    assert done == list(range(1, FILES + 1))
    assert found.files == sum(found.outcomes.values()) == FILES
    assert not found.dead
    assert not found.uncaught
    assert found.outcomes["restored"] > FILES / 10
    assert found.outcomes["invalid_image"] > FILES / 10
    assert len(found.resident_bytes) == 10
    assert found.slowest_s > 0


def test_uploads_that_end_the_process_are_counted_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying.py").write_text(
        "import json, os, sys\n"
        "first, count = int(sys.argv[2]), int(sys.argv[3])\n"
        "for index in range(first, first + count):\n"
        "    if index in (2, 5, 6):\n"
        "        os.abort()\n"
        "    outcome = 'uncaught KeyError' if index == 4 else 'restored'\n"
        "    print(json.dumps(dict(index=index, change='a', outcome=outcome, seconds=index, growth_bytes=9 - index,"
        " resident_bytes=100 - index)), flush=True)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = fuzz(8, 0, module="dying")
    assert found.dead == [2, 5, 6]
    assert found.uncaught == [4]
    assert found.files == 8
    assert found.outcomes == {"restored": 4, "uncaught KeyError": 1}
    assert (found.slowest, found.largest) == (7, 0)


def test_bombs_are_refused_with_the_code_that_is_promised() -> None:
    for row in measure_refusals():
        assert row.code == row.expected, row.name


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is read from /proc")
def test_peak_of_memory_is_seen_and_begins_anew() -> None:
    code = (
        "from app.bench.resident import *\n"
        "reset_peak(); before = resident_bytes(); block = b'1' * 50_000_000; del block\n"
        "seen = peak_bytes() - before; reset_peak(); print(seen, peak_bytes() - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seen, after = (int(word) for word in out.split())
    assert seen > 45_000_000
    assert after < 10_000_000


@pytest.mark.filterwarnings("ignore")
def test_commands_print_their_tables(tmp_path: Path) -> None:
    runner = CliRunner()
    table = runner.invoke(app, ["formats", "--json", str(tmp_path / "formats.json")])
    assert table.exit_code == 0, table.output
    assert "| TIFF, 16 bit | tiff | yes | 16 -> 16 |" in table.output
    fuzzed = runner.invoke(app, ["fuzz-images", "--files", "30", "--json", str(tmp_path / "fuzz.json")])
    assert fuzzed.exit_code == 0, fuzzed.output
    assert "processes that died: 0 (goal 0)" in fuzzed.output
    bombs = runner.invoke(app, ["bombs", "--json", str(tmp_path / "bombs.json")])
    assert bombs.exit_code == 0, bombs.output
    assert "expected" not in bombs.output
    assert all((tmp_path / name).stat().st_size > 100 for name in ("formats.json", "fuzz.json", "bombs.json"))
