"""`vlmir serve` as a user starts it: photo in, photo out; a killed worker and a killed Redis in the middle of a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis
from typer.testing import CliRunner

from app.bench.arrivals import Arrival
from app.bench.service import closed_loop, open_loop
from app.cli import app
from tests.support.workers import noise_png, read_pixels

pytestmark = pytest.mark.slow
JOB_S = 180.0


@dataclass
class Service:
    """The supervisor process and its address."""

    process: subprocess.Popen[str]
    url: str
    state_dir: Path

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=10)

    def submit(self, photo: bytes, **options: object) -> str:
        answer = httpx.post(f"{self.url}/restore", params={k: str(v) for k, v in options.items()}, content=photo)
        assert answer.status_code == 202, answer.text
        path: str = answer.headers["location"]
        return httpx.URL(path).path

    def poll(self, path: str, *, until_step: int | None = None) -> dict[str, object]:
        """Waits for the end of a job, or until it has done some steps."""
        deadline = time.monotonic() + JOB_S
        while True:
            answer = self.get(path)
            if answer.status_code != 503:  # Redis is away
                job: dict[str, object] = answer.json()
                is_over = job["state"] not in ("queued", "running")
                if is_over or (until_step is not None and int(str(job["step"])) >= until_step):
                    return job
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.02)

    def worker_pid(self) -> int:
        name: str = self.get("/readyz").json()["workers"][0]["name"]
        return int(name.split("-")[-2])


def start_service(state_dir: Path) -> Service:
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--model", "tiny"]
    environment = os.environ | {"VLMIR_THREADS": "1", "VLMIR_LEASE_S": "3", "VLMIR_STATE_DIR": str(state_dir)}
    with (state_dir / "stderr.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    ready = next((line for line in process.stdout if line.startswith("VLMIR is ready at ")), None)
    assert ready is not None, (state_dir / "stderr.txt").read_text()
    return Service(process, ready.split()[-1], state_dir)


def stop_service(service: Service) -> int:
    service.process.terminate()  # no effect on one that has stopped already
    code = service.process.wait(90)
    if service.process.stdout is not None:
        service.process.stdout.close()
    return code


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Service]]:
    """The service that runs at present, as the only item; stopped at the end."""
    running = [start_service(tmp_path_factory.mktemp("state"))]
    yield running
    stop_service(running[0])


@pytest.fixture
def service(services: list[Service]) -> Service:
    """A running service; a new one on the same data when the last test has stopped it."""
    if services[0].process.poll() is not None:
        services[0] = start_service(services[0].state_dir)
    return services[0]


def test_photo_goes_in_and_comes_out(service: Service) -> None:
    path = service.submit(noise_png(90, 70), steps=2, seed=3)
    job = service.poll(path)
    assert (job["state"], job["step"], job["steps_total"]) == ("succeeded", 2, 2), job
    result = service.get(f"{path}/result")
    assert result.headers["content-type"] == "image/png"
    assert read_pixels(result.content).shape == (70, 90, 3)
    again = service.submit(noise_png(90, 70), steps=2, seed=3)
    service.poll(again)
    assert np.array_equal(read_pixels(service.get(f"{again}/result").content), read_pixels(result.content))


def test_command_line_restores_through_the_service(service: Service, tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(noise_png(90, 70))
    arguments = ["restore", tmp_path / "in.png", "-o", tmp_path / "out.webp", "--steps", "1", "--server", service.url]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert read_pixels((tmp_path / "out.webp").read_bytes()).shape == (70, 90, 3)


def test_demo_shows_before_after_and_original(service: Service, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out-dir", str(tmp_path), "--server", service.url, "--quality", "fast"])
    assert result.exit_code == 0, result.output
    assert "PSNR before" in result.output
    assert read_pixels((tmp_path / "before-after-original.png").read_bytes()).shape == (512 + 28, 3 * 512, 3)


def test_load_is_measured_by_the_service_s_own_times(service: Service) -> None:
    closed = closed_loop(service.url, ["thumbnail"], clients=2, jobs=3)
    assert (closed.succeeded, closed.failed) == (3, 0)
    (row,) = closed.latencies
    assert (row.size, row.count) == ("thumbnail", 3)
    assert 0 < row.p50_s <= row.p99_s <= closed.seconds
    opened = open_loop(service.url, [Arrival(0.0, "thumbnail"), Arrival(0.2, "thumbnail")], "two")
    assert (opened.name, opened.succeeded) == ("two", 2)


def test_job_survives_the_death_of_redis_and_of_its_worker(service: Service) -> None:
    path = service.submit(noise_png(400, 400), steps=40)
    service.poll(path, until_step=1)
    os.kill(_redis_pid(service), signal.SIGKILL)
    service.poll(path, until_step=5)
    first = service.worker_pid()
    os.kill(first, signal.SIGKILL)
    job = service.poll(path)
    assert job["state"] == "succeeded", job
    assert int(str(job["attempt"])) >= 2
    assert service.worker_pid() != first
    assert service.get(f"{path}/result").status_code == 200


def test_sigterm_stops_everything_cleanly(service: Service) -> None:
    path = service.submit(noise_png(200, 200), steps=10)
    service.poll(path, until_step=1)
    children = [service.worker_pid(), _redis_pid(service)]
    assert stop_service(service) == 0
    assert "did not stop cleanly" not in (service.state_dir / "stderr.txt").read_text()
    for pid in children:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(httpx.ConnectError):
        service.get("/healthz")


def _redis_pid(service: Service) -> int:
    with redis.Redis(unix_socket_path=str(service.state_dir / "redis" / "redis.sock")) as client:
        return int(client.info("server")["process_id"])
