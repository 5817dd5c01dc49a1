"""`vlmir serve` without rights: not root, a read-only disk but for two folders, no home; and hostile names and headers.

The disk is a view of its own (mount namespace), so a write elsewhere fails as it would in a read-only container.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support.roles import Role, children_of, environment_of, wait_until
from tests.support.workers import noise_png

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("unshare") is None or shutil.which("setpriv") is None, reason="needs util-linux"),
]
NOBODY = 65534
AS_NOBODY = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs"

# Everything but two folders is made read-only; a disk that still takes a file ends it with 99.
# Where nobody may enter the folders above Python, these are replaced by empty ones with Python alone in them.
READ_ONLY = """
set -e
mount --make-rprivate /
if [ -n "$AS_NOBODY" ] && ! $AS_NOBODY test -r "$PREFIX"; then
  mkdir "$STATE/../python"
  mount --bind "$PREFIX" "$STATE/../python"
  mount -t tmpfs -o mode=755 tmpfs "/$(echo "$PREFIX" | cut -d/ -f2)"
  mkdir -p "$PREFIX"
  mount --bind "$STATE/../python" "$PREFIX"
fi
if [ -n "$AS_NOBODY" ] && ! $AS_NOBODY test -r "$PWD/app/cli.py" -a -x "$1"; then exit 98; fi
for place in "$STATE" "$TMPDIR"; do mount --bind "$place" "$place"; done
while read -r _ place _; do
  case "$place" in "$STATE"|"$TMPDIR"|/proc*|/sys*) ;; *) mount -o remount,bind,ro "$place" 2>/dev/null || true ;; esac
done < /proc/self/mounts
for place in / /tmp /dev/shm /var/tmp "$PWD" "$STATE/.."; do
  if ( : > "$place/written" ) 2>/dev/null; then exit 99; fi
done
exec $AS_NOBODY "$@"
"""


@dataclass
class Surface:
    """The running service, its address, and its two folders."""

    role: Role
    url: str
    port: int
    state: Path
    tmp: Path


@pytest.fixture(scope="module")
def surface() -> Iterator[Surface]:
    base = Path(tempfile.mkdtemp(prefix="vlmir-surface-"))  # not pytest's, which nobody else may enter
    base.chmod(0o755)
    state, tmp = base / "state", base / "tmp"
    is_root = os.geteuid() == 0
    for folder in (state, tmp):
        folder.mkdir(mode=0o700)
        if is_root:
            os.chown(folder, NOBODY, NOBODY)
    settings = {
        "STATE_DIR": state,
        "MODEL": "tiny",
        "THREADS": 1,
        "LOG_JSON": "true",
        "LOG_LEVEL": "debug",
        "GRACE_S": 5,
    }
    environment = environment_of(settings) | {"STATE": str(state), "TMPDIR": str(tmp), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("HOME", None)
    own = ["--mount"] if is_root else ["--user", "--map-root-user", "--mount"]
    environment["PREFIX"] = sys.base_prefix
    environment["AS_NOBODY"] = AS_NOBODY if is_root else ""
    command = [
        "unshare",
        *own,
        "sh",
        "-c",
        READ_ONLY,
        "sh",
        sys.executable,
        "-m",
        "app.cli",
        "serve",
        "--port",
        "0",
    ]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Role(process, base / "log")
    try:
        wait_until(lambda: not running.is_alive() or "VLMIR is ready at " in running.output)
        if process.poll() == 98:
            pytest.skip("the user nobody cannot read this checkout")
        if "unshare:" in running.output or "mount:" in running.output:
            pytest.skip(f"no disk of its own to be had here: {running.output.strip()[:200]}")
        url = running.wait_for_line("VLMIR is ready at ")
        yield Surface(running, url, int(url.rpartition(":")[2]), state, tmp)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(base, ignore_errors=True)


def test_a_photo_is_restored_without_rights(surface: Surface) -> None:
    answer = httpx.post(
        f"{surface.url}/restore?steps=1", content=noise_png(), headers={"Prefer": "wait=60"}, timeout=90
    )
    assert answer.status_code == 200, answer.text
    pids = {surface.role.process.pid} | children_of(surface.role.process.pid)
    assert len(pids) == 4
    if os.geteuid() == 0:
        for pid in pids:
            status = Path(f"/proc/{pid}/status").read_text()
            assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
            assert "CapEff:\t0000000000000000" in status
    assert "Read-only file system" not in surface.role.output
    assert "Permission denied" not in surface.role.output


NAMES = [
    "../../../../tmp/evil-name",
    "/etc/evil-name",
    "..\\..\\evil-name",
    "evil-name\x00.png",
    "evil-name; touch evil-name",
    "evil-name" + "x" * 3000,
    "evil-name\u202egpj.exe",
    "~/evil-name",
    "C:\\evil-name",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_uploaded_names_reach_no_file(surface: Surface, name: str) -> None:
    # One of them above the size from which a form parser puts parts into files, if nobody tells it not to.
    is_large = name == NAMES[0]
    photo = noise_png(800, 700) if is_large else noise_png(40, 30)
    assert (len(photo) > 1024 * 1024) == is_large
    quoted = name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    body = b'--xyz\r\nContent-Disposition: form-data; name="image"; filename="' + quoted + b'"\r\n'
    body += b"Content-Type: image/png\r\n\r\n" + photo + b"\r\n--xyz\r\n"
    body += b'Content-Disposition: form-data; name="steps"\r\n\r\n1\r\n--xyz--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=xyz"}
    answer = httpx.post(f"{surface.url}/restore", content=body, headers=headers, timeout=90)
    assert answer.status_code in (202, 400), answer.text
    if answer.status_code == 202:
        httpx.delete(f"{surface.url}{httpx.URL(answer.headers['location']).path}?purge=true", timeout=30)
    for folder in (surface.state, surface.tmp):
        for path in folder.rglob("*"):
            assert "evil-name" not in path.name
    # The empty folder of torch's compiler, and no upload.
    assert [path.name for path in surface.tmp.rglob("*") if not path.name.startswith("torchinductor_")] == []
    assert "evil-name" not in surface.role.output.replace("\\", "")


FORGED = '{"time": "2000-01-01T00:00:00.000Z", "level": "critical", "logger": "app", "message": "forged"}'


def raw_request(port: int, data: bytes) -> bytes:
    """Sends bytes as they are, which no client would."""
    answer = b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),  # some are not worth a whole answer
    ):
        connection.sendall(data)
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_no_request_forges_a_line_of_the_log(surface: Surface) -> None:
    line = FORGED.encode()
    quoted = line.replace(b" ", b"%20").replace(b'"', b"%22")
    requests = [
        b"GET /%0d%0a" + quoted + b" HTTP/1.1\r\nHost: a\r\n",
        b"GET /jobs/%0a" + quoted + b"%1b%5b2J HTTP/1.1\r\nHost: a\r\n",
        b"GET /jobs?x=%0a" + quoted + b" HTTP/1.1\r\nHost: a\r\n",
        b"GET /jobs?x=\xff\xfe HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\x0b" + line + b"\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nX-Request-Id: \xc2\x85" + line + b"\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\ntraceparent: 00-\x1b[31m" + line + b"\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer vlmir_\xe2\x80\xa8" + line + b"\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * 60_000 + b"\r\n",
        b"F\x1b[1mOO / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n" + line + b"\n",
    ]
    for request in requests:
        raw_request(surface.port, request + b"Connection: close\r\n\r\n")
    options = {
        "caption": f"a dog\n{FORGED}\u2028\x1b[2J",
        "metadata": json.dumps({"note": f"\n{FORGED}"}),
        "model": f"tiny\n{FORGED}",
        "kinds": f"noise\r\n{FORGED}",
        "webhook": f"https://a.example/\n{FORGED}",
    }
    for name, value in options.items():
        form = {name: value, "steps": "1"}
        files = {"image": ("a.png", noise_png(40, 30), "image/png")}
        answer = httpx.post(f"{surface.url}/restore", data=form, files=files, timeout=90)
        assert answer.status_code < 500, answer.text
    answer = httpx.post(
        f"{surface.url}/restore?steps=1", content=noise_png(), headers={"Prefer": "wait=60"}, timeout=90
    )
    assert answer.status_code == 200
    # All lines but those of the supervisor are JSON, and no line is the forged one.
    records = [json.loads(text) for text in surface.role.output.splitlines() if text.startswith("{")]
    others = [text for text in surface.role.output.splitlines() if not text.startswith("{")]
    assert len(records) > 20
    assert all(text.startswith("VLMIR ") for text in others), others
    assert not any(record["level"] == "critical" or record["message"] == "forged" for record in records)
    assert not any(
        ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for text in surface.role.output.split("\n") for char in text
    )
