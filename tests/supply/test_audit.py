"""What `make audit` decides, with pip-audit itself and a small stand-in for the advisory service on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.supply import audit

HOLE = {
    "id": "GHSA-test-test-test",
    "aliases": ["CVE-2099-1234"],
    "summary": "a hole",
    "modified": "2099-01-01T00:00:00Z",
    "published": "2099-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.0"}]}],
            "versions": ["1.0"],
        }
    ],
}


class Advisories(BaseHTTPRequestHandler):
    """Knows a hole in leaky 1.0; breaks down for broken, and for everything while it is ill."""

    is_ill: ClassVar[bool] = False

    def do_POST(self) -> None:
        asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = asked.get("package", {}).get("name")
        if self.is_ill or name == "broken":
            self._answer(500, b"out of order")
        elif name is None:
            self._answer(400, b'{"code": 3, "message": "Invalid query."}')
        else:
            is_hit = (name, asked.get("version")) == ("leaky", "1.0")
            self._answer(200, json.dumps({"vulns": [HOLE]} if is_hit else {}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def audited(service: str, folder: Path, *packages: str) -> int:
    (folder / "packages.txt").write_text("\n".join(packages))
    return audit.audit(service, ["--requirement", str(folder / "packages.txt"), "--no-deps", "--disable-pip"])


def test_a_known_hole_fails(service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(service, tmp_path, "leaky==1.0", "tight==1.0") == 1
    told = capsys.readouterr()
    assert "leaky 1.0: CVE-2099-1234 (GHSA-test-test-test), mended in 2.0" in told.err
    assert "2 packages, 1 known holes" in told.out


def test_no_hole_passes(service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(service, tmp_path, "leaky==2.0", "tight==1.0") == 0
    assert "2 packages, 0 known holes" in capsys.readouterr().out


def test_an_audit_that_breaks_off_is_no_pass(service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited(service, tmp_path, "broken==1.0") == 2
    assert "broke off" in capsys.readouterr().err


def test_a_service_out_of_reach_is_told_and_passed_over(
    service: str, tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audited(f"http://127.0.0.1:{free_port}/v1/query", tmp_path, "leaky==1.0") == 0
    assert "not reachable (ConnectError), skipped" in capsys.readouterr().out
    monkeypatch.setattr(Advisories, "is_ill", True)  # as a proxy between that lets nobody out
    assert audited(service, tmp_path, "leaky==1.0") == 0
    assert "not reachable (status 500 from something else), skipped" in capsys.readouterr().out


def test_what_does_not_concern_us_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    report = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "aliases": ["CVE-1"]}]}]}
    assert audit.findings(report) == ["a 1: X-1 (CVE-1), not mended yet"]
    monkeypatch.setitem(audit.IGNORED, "CVE-1", "a test")
    assert audit.findings(report) == []
