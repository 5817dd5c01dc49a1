"""The command line as a user types it, with the tiny model in this process."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.errors import QueueUnavailableError
from app.images import read_settings
from app.settings import Settings
from tests.support.sample_photos import jpeg, png
from tests.support.workers import noise_png, read_pixels


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLMIR_THREADS", "1")
    monkeypatch.setenv("VLMIR_MODEL", "tiny")
    monkeypatch.setenv("VLMIR_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("VLMIR_REDIS_URL", raising=False)


def vlmir(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_help_and_version_need_no_heavy_imports() -> None:
    script = (
        "import sys, app.cli, typer.testing as t; r = t.CliRunner().invoke(app.cli.app, ['--help']);"
        "assert 'restore' in r.output and 'serve' in r.output, r.output;"
        "heavy = {'torch', 'numpy', 'fastapi', 'redis', 'PIL', 'pydantic', 'httpx'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert vlmir("--version").output.startswith("vlmir")


def test_supervisor_needs_no_torch_and_no_web_framework() -> None:
    script = (
        "import sys, app.commands.supervisor, app.settings;"
        "sys.exit(str({'torch', 'fastapi', 'uvicorn', 'numpy', 'redis'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_restore_writes_the_photo_in_the_format_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png(70, 50))
    result = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "new" / "out.jpg", "--steps", "1")
    assert result.exit_code == 0, result.output
    data = (tmp_path / "new" / "out.jpg").read_bytes()
    assert data.startswith(b"\xff\xd8")
    assert read_pixels(data).shape == (50, 70, 3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.jpg"]


def test_same_seed_gives_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(noise_png(70, 50))
    outputs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        vlmir("restore", tmp_path / "in.png", "-o", tmp_path / name, "--steps", "1", "--seed", seed)
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1] != outputs[2]


def test_kinds_that_are_told_change_the_result(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(noise_png(70, 50))
    outputs = []
    for kinds in ("noise", "noise", "rain,blur", ""):
        done = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "out.png", "--steps", "1", "--kinds", kinds)
        assert done.exit_code == 0, done.output
        outputs.append((tmp_path / "out.png").read_bytes())
    assert outputs[0] == outputs[1]
    assert len(set(outputs)) == 3
    refused = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "x.png", "--kinds", "rain,scratches")
    assert (refused.exit_code, "scratches" in refused.output) == (2, True)


def test_result_is_written_as_asked(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(jpeg(70, 50, orientation=1))
    sizes = []
    for name, more in (("a", []), ("b", ["--photo-metadata", "strip", "--quality-factor", "10"])):
        done = vlmir("restore", tmp_path / "in.jpg", "-o", tmp_path / f"{name}.jpg", "--steps", "1", *more)
        assert done.exit_code == 0, done.output
        data = (tmp_path / f"{name}.jpg").read_bytes()
        assert (b"Exif" in data, "model" in read_settings(data)) == ((True, True) if name == "a" else (False, False))
        sizes.append(len(data))
    assert sizes[1] < sizes[0]
    for option, value, expected in (("--photo-metadata", "none", "strip-gps"), ("--quality-factor", "101", "100")):
        refused = vlmir("restore", tmp_path / "in.jpg", "-o", tmp_path / "c.jpg", option, value)
        assert (refused.exit_code, option in refused.output, expected in refused.output) == (2, True, True)


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    files = {"a.jpg": jpeg(70, 50), "bad.jpg": b"no photo", "c.png": png(50, 70)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    missing = tmp_path / "missing.png"
    inputs = [tmp_path / name for name in files]
    result = vlmir("restore", *inputs, missing, "--out-dir", tmp_path / "out", "--steps", "1")
    assert result.exit_code == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "c.png"]
    assert "bad.jpg: " in result.output
    assert "No such file" in result.output


def test_input_is_never_overwritten(tmp_path: Path) -> None:
    photo = tmp_path / "in.png"
    photo.write_bytes(png(70, 50))
    before = photo.read_bytes()
    (tmp_path / "link.png").symlink_to(photo)
    for target in (["-o", photo], ["-o", tmp_path / "link.png"], ["--out-dir", tmp_path]):
        result = vlmir("restore", photo, *target, "--steps", "1")
        assert result.exit_code == 1
        assert "would overwrite" in result.output
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png"], "--out-dir"),
        (["a.png", "-o", "b.png", "--out-dir", "c"], "either"),
        (["a.png", "b.png", "-o", "c.png"], "do not fit"),
        (["x/a.png", "y/a.jpg", "--out-dir", "c"], "several photos"),
        (["a.png", "-o", "b.bmp"], ".bmp"),
        (["a.png", "-o", "b.png", "--steps", "0"], "greater than or equal to 1"),
        (["a.png", "-o", "b.png", "--quality", "superb"], "balanced"),
    ],
)
def test_wrong_use_is_explained(arguments: list[str], words: str) -> None:
    result = vlmir("restore", *arguments)
    assert result.exit_code == 2
    assert words in result.output


def test_unknown_model_and_absent_service_are_explained(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "in.png").write_bytes(png(70, 50))
    result = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "o.png", "--model", "no-such-model")
    assert (result.exit_code, "no-such-model" in result.output) == (1, True)
    url = f"http://127.0.0.1:{free_port}"
    result = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "o.png", "--server", url)
    assert (result.exit_code, "does not answer" in result.output) == (1, True)


def test_analyze_gives_json(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png(70, 50))
    report = json.loads(vlmir("analyze", tmp_path / "in.png", "--json").output)
    assert (report["width"], report["height"], report["model"]) == (70, 50, "tiny")
    assert len(report["degradations"]) == 10
    table = vlmir("analyze", tmp_path / "in.png", "--caption", "a red boat").output
    assert "a red boat" in table
    assert "low-light" in table


def test_models_lists_names_and_the_default() -> None:
    rows = {row["name"]: row for row in json.loads(vlmir("models", "--json").output)}
    assert {"tiny", "small", "base"} <= set(rows)
    assert [name for name, row in rows.items() if row["default"]] == ["tiny"]
    assert "tiny" in vlmir("models").output


def test_models_of_the_settings_are_listed_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    monkeypatch.setenv("VLMIR_MODELS", f"small,{tmp_path / 'night'}")
    rows = {row["name"]: row for row in json.loads(vlmir("models", "--json").output)}
    assert [name for name, row in rows.items() if row["default"]] == ["small"]
    assert {name for name, row in rows.items() if row["served"]} == {"small", "night"}
    assert (rows["night"]["parameters"], rows["night"]["weights"]) == (None, "none")


def test_model_of_the_settings_can_be_named_in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLMIR_MODELS", "gone=/nowhere,mine=tiny")
    (tmp_path / "in.png").write_bytes(png(70, 50))
    result = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "o.png", "--steps", "1", "--model", "mine")
    assert result.exit_code == 0, result.output
    result = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "p.png", "--steps", "1")  # the first is gone
    assert (result.exit_code, "/nowhere" in result.output) == (1, True)


def test_options_are_sent_on_to_a_service(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png(70, 50))
    seen: list[bytes] = []

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["content-length"])))
            problem = json.dumps({"code": "unknown_model", "detail": "There is no model 'night'; there are small."})
            self.send_response(422)
            self.send_header("content-type", "application/problem+json")
            self.end_headers()
            self.wfile.write(problem.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        result = vlmir(
            "restore", tmp_path / "in.png", "-o", tmp_path / "o.png", "--server", url, "--model", "night",
            "--start-within", "2.5", "--finish-within", "30", "--kinds", "rain",
            "--photo-metadata", "strip-gps", "--quality-factor", "80",
        )  # fmt: skip
        thread.join()
    assert (result.exit_code, "there are small" in result.output) == (1, True)
    sent = {
        "model": "night",
        "kinds": "rain",
        "start_within": "2.5",
        "finish_within": "30.0",
        "photo_metadata": "strip-gps",
        "quality_factor": "80",
    }
    for name, value in sent.items():
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in seen[0]
    refused = vlmir("restore", tmp_path / "in.png", "-o", tmp_path / "o.png", "--finish-within", "30")
    assert (refused.exit_code, "--server" in refused.output) == (2, True)


def test_roles_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    for role in ("api", "worker"):
        result = vlmir(role)
        assert result.exit_code == 78
        assert "VLMIR_REDIS_URL" in result.output
    monkeypatch.setenv("VLMIR_LEASE_S", "soon")
    result = vlmir("worker")
    assert result.exit_code == 78
    assert "VLMIR_LEASE_S" in result.output
    monkeypatch.delenv("VLMIR_LEASE_S")
    for role in ("api", "worker"):
        result = vlmir(role, "--model", "small", "--model", "runs/small")
        assert result.exit_code == 78
        assert "VLMIR_MODELS: Value error, two models are called 'small'" in result.output
        result = vlmir(role, "--model", "")
        assert result.exit_code == 2
        assert "got an empty name" in result.output


def test_api_offers_the_models_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def note(settings: Settings) -> None:
        seen.append(settings)
        raise QueueUnavailableError("enough")  # before it would listen

    monkeypatch.setattr("app.api.app.create_app", note)
    monkeypatch.setattr("app.logs.configure_logging", lambda _: None)  # it would hold for the tests that follow
    monkeypatch.setenv("VLMIR_REDIS_URL", "redis://nobody.test:6379/0")
    assert vlmir("api", "--model", "runs/noise", "--model", "night=/models/a").exit_code == 1
    assert [(model.name, model.place) for model in seen[0].served_models] == [
        ("noise", "runs/noise"),
        ("night", "/models/a"),
    ]


def test_serve_says_when_the_port_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = vlmir("serve", "--port", port)
    assert result.exit_code == 1
    assert f"port {port}" in result.output
    assert "--port" in result.output


def test_train_passes_its_arguments_through() -> None:
    result = vlmir("train", "--help")
    assert result.exit_code == 0
    assert "restorer" in result.output
