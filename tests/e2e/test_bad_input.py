"""The issue's list of bad and odd input against real processes: API, worker with the tiny model, Redis.

Each photo is restored properly or refused with a clear problem; nothing brings the API or the worker down.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from PIL import Image

from app.client import VlmirClient
from app.errors import AnimatedImageError, JobNotFoundError, ServiceError
from app.images import ImageLimits, decode
from tests.support import sample_photos as samples
from tests.support.workers import start_worker_process

START_S = 120


@dataclass
class Service:
    url: str
    api: subprocess.Popen[bytes]
    worker: subprocess.Popen[bytes]

    def is_alive(self) -> bool:
        return self.api.poll() is None and self.worker.poll() is None


@pytest.fixture(scope="module")
def service(redis_url: str) -> Iterator[Service]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    environment = os.environ | {"VLMIR_REDIS_URL": redis_url, "VLMIR_NAMESPACE": namespace}
    api = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "api", "--host", "127.0.0.1", "--port", str(port)], env=environment
    )
    worker = start_worker_process(redis_url, namespace)
    running = Service(f"http://127.0.0.1:{port}", api, worker)
    try:
        deadline = time.monotonic() + START_S
        while not _is_ready(running.url):
            assert running.is_alive(), "a process ended while starting"
            assert time.monotonic() < deadline, f"not ready after {START_S} s"
            time.sleep(0.1)
        yield running
    finally:
        for process in (api, worker):
            process.terminate()
        for process in (api, worker):
            process.wait(timeout=60)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def post(service: Service, data: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/octet-stream", "Prefer": "wait=60"}
    return httpx.post(f"{service.url}/restore?steps=1", content=data, headers=headers, timeout=90)


NOISE = samples.saved(Image.effect_noise((200, 150), 60).convert("RGB"), "JPEG")

REFUSED = {
    "not an image": (b"just some text", 415, "unsupported_format"),
    "a PDF": (b"%PDF-1.7\n%....", 415, "unsupported_format"),
    "zero bytes": (b"", 422, "empty_upload"),
    "truncated JPEG": (NOISE[: len(NOISE) // 2], 422, "invalid_image"),
    "JPEG without pixels": (NOISE[:300], 422, "invalid_image"),
    "truncated PNG": (samples.saved(Image.effect_noise((99, 99), 60), "PNG")[:-2000], 422, "invalid_image"),
    "30,000 px wide": (samples.png_header_only(30_000, 100), 413, "image_too_large"),
    "60 megapixels": (samples.png_header_only(10_000, 6_000), 413, "image_too_large"),
    "four gigapixels": (samples.png_header_only(65_535, 65_535), 413, "image_too_large"),
    "animated GIF": (samples.animated("GIF"), 422, "animated_image"),
    "animated WebP": (samples.animated("WEBP"), 422, "animated_image"),
    "random bytes behind a magic number": (b"\xff\xd8\xff\xe0" + os.urandom(5000), 422, "invalid_image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_photo_is_refused_at_once_with_a_clear_problem(service: Service, name: str) -> None:
    data, status, code = REFUSED[name]
    started = time.monotonic()
    answer = post(service, data)
    assert time.monotonic() - started < 45  # a wait of 60 s was asked for
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 20
    assert "x-job-id" not in answer.headers
    assert service.is_alive()


def gray16() -> bytes:
    return samples.png16(samples.pixels(channels=1, depth=16))


# name: file, width, height, mode that Pillow reports for the result, format
RESTORED = {
    "one pixel": (samples.png(1, 1), 1, 1, "RGB", "PNG"),
    "one gray pixel": (samples.png(1, 1, mode="L"), 1, 1, "L", "PNG"),
    "one row": (samples.png(200, 1), 200, 1, "RGB", "PNG"),  # the longest side ratio there may be
    "CMYK JPEG": (samples.saved(samples.picture().convert("CMYK"), "JPEG"), 48, 32, "RGB", "JPEG"),
    "16-bit colour PNG": (samples.png16(samples.pixels(depth=16)), 48, 32, "RGB", "PNG"),
    "16-bit gray PNG": (gray16(), 48, 32, "I;16", "PNG"),
    "RGBA": (samples.png(mode="RGBA"), 48, 32, "RGBA", "PNG"),
    "gray with alpha": (samples.saved(Image.fromarray(samples.pixels(channels=2)), "PNG"), 48, 32, "LA", "PNG"),
    "gray JPEG": (samples.saved(samples.picture(mode="L"), "JPEG"), 48, 32, "L", "JPEG"),
    "1-bit": (samples.png(mode="1"), 48, 32, "L", "PNG"),
    "palette with a transparent colour": (
        samples.saved(samples.picture().quantize(16), "PNG", transparency=3),
        *(48, 32, "RGBA", "PNG"),
    ),
    "EXIF-rotated": (samples.jpeg(orientation=6), 32, 48, "RGB", "JPEG"),
    "single-frame GIF": (samples.saved(samples.picture(), "GIF"), 48, 32, "RGB", "PNG"),
    "MPO of a phone": (samples.mpo(), 48, 32, "RGB", "JPEG"),
    "HEIC": (samples.heic(), 64, 48, "RGB", "JPEG"),
    "WebP": (samples.saved(samples.picture(), "WEBP"), 48, 32, "RGB", "WEBP"),
    "AVIF": (samples.saved(samples.picture(), "AVIF"), 48, 32, "RGB", "AVIF"),
    "TIFF": (samples.saved(samples.picture(), "TIFF"), 48, 32, "RGB", "TIFF"),
}


@pytest.mark.parametrize("name", RESTORED)
def test_odd_photo_is_restored_with_its_size_channels_and_format(service: Service, name: str) -> None:
    data, width, height, mode, form = RESTORED[name]
    answer = post(service, data)
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as result:
        assert (result.size, result.format) == ((width, height), form)
        assert result.mode == mode
        assert result.getexif().get(samples.ORIENTATION, 1) == 1
    before, after = decode(data, ImageLimits()), decode(answer.content, ImageLimits())
    if before.alpha is None:
        assert after.alpha is None
    else:
        assert after.alpha is not None
        assert np.array_equal(after.alpha, before.alpha)
    assert after.rgb.dtype == before.rgb.dtype
    assert service.is_alive()


def test_unknown_job_and_early_result_are_told_apart(service: Service) -> None:
    with VlmirClient(service.url) as client:
        with pytest.raises(JobNotFoundError):
            client.job("0" * 32)
        with pytest.raises(AnimatedImageError) as caught:
            client.submit(samples.animated("GIF"))
        assert caught.value.code == "animated_image"
        job = client.submit(samples.saved(Image.effect_noise((1200, 900), 60).convert("RGB"), "JPEG"), steps=100)
        with pytest.raises(ServiceError) as early:
            client.result(job)
        assert (early.value.status, early.value.code) == (409, "result_not_ready")
        client.cancel(job)
        assert client.wait(job, timeout_s=30).state == "canceled"
        steps = []
        data = client.restore(samples.png(), steps=3, format="webp", on_progress=lambda job: steps.append(job.step))
    with Image.open(io.BytesIO(data)) as result:
        assert (result.format, result.size) == ("WEBP", (48, 32))
    assert steps[-1] == 3
    assert steps == sorted(steps)


def test_service_still_works_after_all_of_it(service: Service) -> None:
    assert _is_ready(service.url)
    assert post(service, samples.jpeg()).status_code == 200
