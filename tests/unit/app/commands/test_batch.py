"""`vlmir batch` with the tiny model in this process: what is a photo, where results go, what is done again."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.commands.batch_plan import make_plan
from app.commands.batch_report import HEADER, Report, ReportError, Row
from app.commands.result_files import write_whole
from app.images import read_settings
from tests.support.sample_photos import heic, jpeg, mpo, png


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMIR_THREADS", "1")
    monkeypatch.setenv("VLMIR_MODEL", "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def vlmir(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def states_of(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["file"]: row["state"] for row in csv.DictReader(file)}


def test_photos_are_restored_and_only_what_is_new_the_next_time(folder: Path, tmp_path: Path) -> None:
    (folder / "a.jpg").write_bytes(jpeg(60, 50))
    (folder / "broken.jpg").write_bytes(jpeg(60, 50)[:500])
    out = tmp_path / "out"
    call = ("batch", folder, "--out", out, "--steps", "1", "--kinds", "snow,rain", "--quality-factor", "50")
    first = vlmir(*call)
    assert (first.exit_code, "1 restored, 1 failed" in first.output) == (1, True)
    assert "broken.jpg: invalid_image: " in first.output
    with (out / "report.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == HEADER
    assert (rows[0]["file"], rows[0]["state"], sorted(rows[0]["kinds"].split(","))) == (
        "a.jpg",
        "succeeded",
        ["rain", "snow"],
    )
    assert rows[1]["error"].startswith("invalid_image: ")
    made = (out / "a.jpg").stat()
    (folder / "broken.jpg").write_bytes(jpeg(60, 50))
    second = vlmir(*call)
    assert (second.exit_code, "1 restored, 1 had a result" in second.output) == (0, True)
    assert (out / "a.jpg").stat().st_mtime_ns == made.st_mtime_ns
    assert sorted(path.name for path in out.iterdir()) == ["a.jpg", "broken.jpg", "report.csv"]
    third = vlmir(*call)  # needs no model any more
    assert (third.exit_code, "0 restored, 2 had a result" in third.output) == (0, True)
    assert vlmir(*call, "--again", "--seed", "5").exit_code == 0
    assert read_settings((out / "a.jpg").read_bytes())["seed"] == "5"


NAMES = ("=1+1.png", "+a.png", "-a.png", "@a.png", "\ta.png", "\ra.png", "'=a.png", "''-a.png", "'a.png", "a=b.png")


def test_nothing_in_a_report_is_a_formula_and_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Captions and names are other people's, and a spreadsheet runs what begins like a formula."""
    path = tmp_path / "r.csv"
    report = Report(path)
    report.begin()
    rows = [Row(name, "succeeded", "1.5", "", '=HYPERLINK("https://x.example/","a dog")', "-2") for name in NAMES]
    for row in rows:
        report.add(row)
    for _ in range(2):  # as the rows are added, and as the whole is written in the end
        with path.open(encoding="utf-8", newline="") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
        assert "'=1+1.png" in cells
        assert "a=b.png" in cells
        assert Report(path).rows == {row.file: row for row in rows}
        report.end()


def test_a_report_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(f"{','.join(HEADER)}\n=a.png,succeeded,1,,-caption,\n")
    assert Report(path).rows == {"=a.png": Row("=a.png", "succeeded", "1", "", "-caption", "")}


def test_report_that_is_gone_does_not_make_photos_done_again(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").write_bytes(png(60, 50))
    call = ("batch", folder, "--out", tmp_path / "out", "--steps", "1", "--report", tmp_path / "r.csv")
    assert vlmir(*call).exit_code == 0
    (tmp_path / "r.csv").unlink()
    assert vlmir(*call).exit_code == 0
    assert states_of(tmp_path / "r.csv") == {"a.png": "present"}
    os.utime(folder / "a.png", (2**31, 2**31))  # the photo was changed
    assert "1 restored" in vlmir(*call).output
    assert states_of(tmp_path / "r.csv") == {"a.png": "succeeded"}


def test_names_of_results_follow_from_their_photos_alone(folder: Path, tmp_path: Path) -> None:
    files = {
        "a.JPG": jpeg(), "b.heic": heic(), "c.png": jpeg(), "mpo.jpeg": mpo(), "none.jpg": b"text", "sub/d.png": png(),
        ".hidden.png": png(), ".cache/e.png": png(),
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    plan = make_plan(folder, tmp_path / "out", None)
    named = {entry.name: entry.target.relative_to(tmp_path / "out").as_posix() for entry in plan.entries}
    assert named == {
        "a.JPG": "a.JPG", "b.heic": "b.heic.jpg", "c.png": "c.png.jpg", "mpo.jpeg": "mpo.jpeg",
        "sub/d.png": "sub/d.png",
    }  # fmt: skip
    assert plan.others == 1
    webp = make_plan(folder, folder / "out", "webp")
    assert [entry.target.name for entry in webp.entries][:2] == ["a.JPG.webp", "b.heic.webp"]


def test_results_inside_the_folder_are_no_photos_and_none_is_written_over(folder: Path, tmp_path: Path) -> None:
    (folder / "a.png").write_bytes(png())
    (folder / "out").mkdir()
    (folder / "out" / "a.png").write_bytes(png())
    assert [entry.name for entry in make_plan(folder, folder / "out", None).entries] == ["a.png"]
    (folder / "a.png.jpg").write_bytes(jpeg())
    wanted = make_plan(folder, tmp_path / "out", "jpeg")
    assert [entry.error is None for entry in wanted.entries] == [True, False, True]
    (folder / "new").mkdir()
    (folder / "new" / "a.png").write_bytes(png())
    (folder / "new" / "new").mkdir()
    (folder / "new" / "new" / "a.png").write_bytes(png())
    above = make_plan(folder / "new", folder, None)
    assert [entry.error is None for entry in above.entries] == [True, False]
    assert "written over" in str(above.entries[1].error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "IN"], "written over their photos"),
        (["--out", "OUT", "--kinds", "scratches"], "no kind 'scratches'"),
        (["--out", "OUT"], "no photos among 1 file(s)"),
        (["--out", "OUT", "--report", "IN/notes.csv"], "expected file,state,seconds,kinds,caption,error"),
        (["--out", "OUT", "--at-once", "0"], "greater than or equal to 1"),
        ([], "--out"),
    ],
)
def test_wrong_use_is_explained(folder: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    (folder / "notes.csv").write_text("my,own\nlist,1\n")
    named = [word.replace("IN", str(folder)).replace("OUT", str(tmp_path / "out")) for word in arguments]
    result = vlmir("batch", folder, *named)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert (folder / "notes.csv").read_text() == "my,own\nlist,1\n"


def test_report_grows_row_by_row_and_survives_a_row_cut_short(tmp_path: Path) -> None:
    report = Report(tmp_path / "r.csv")
    report.begin()
    report.add(Row("b.png", "failed", "1.00", error='a "quoted",\nreason'))
    report.add(Row("b.png", "succeeded", "2.00", "rain,noise", "a dög"))
    name = os.fsdecode(b"\xff.png")
    report.add(Row(name, "succeeded"))
    with report.path.open("a") as file:
        file.write("c.png,succ")
    again = Report(tmp_path / "r.csv")
    assert again.rows == {
        "b.png": Row("b.png", "succeeded", "2.00", "rain,noise", "a dög"),
        name: Row(name, "succeeded"),
    }
    again.end()
    assert Report(tmp_path / "r.csv").rows == again.rows
    assert report.path.read_bytes().count(b"\r\n") == 3
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ReportError, match="begins with 'a,b', expected file,state"):
        Report(tmp_path / "other.csv")
    (tmp_path / "photo.tif").write_bytes(b'"' + bytes(200_000))
    with pytest.raises(ReportError, match="is no CSV file"):
        Report(tmp_path / "photo.tif")


def test_results_have_the_mode_of_any_new_file_and_the_umask_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the whole process, and results are written by several threads at a time."""
    before = os.umask(0o027)

    def refuse(mask: int) -> int:
        raise AssertionError(f"the umask was set to {mask:o}")

    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "umask", refuse)
            for data in (b"old", b"new"):
                write_whole(tmp_path / "a" / "b.png", data)
    finally:
        os.umask(before)
    assert (tmp_path / "a" / "b.png").read_bytes() == b"new"
    assert (tmp_path / "a" / "b.png").stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.png"]


def test_full_disk_ends_it_and_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(png(60, 50))

    def refuse(target: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr("app.commands.batch_work.write_whole", refuse)
    result = vlmir("batch", folder, "--out", tmp_path / "out", "--steps", "1")
    assert result.exit_code == 1
    assert "a.png: No space left on device. Call this again to go on." in " ".join(result.output.split())
    assert "0 restored, 2 not done" in result.output
