"""Object stores for tests: one in memory, and a real S3 server on loopback (moto, as a process of its own)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from obstore.store import MemoryStore, S3Store

from app.storage.objects import ObjectStore

BUCKET = "photos"
_PLAIN: Any = {"allow_http": True}
_NO_RETRY: Any = {"max_retries": 0}
_KEYS: Any = {"access_key_id": "tester", "secret_access_key": "secret", "region": "us-east-1"}


class BreakableStore(ObjectStore):
    """A store in memory that shows what it has, and whose store can be broken for a while."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        super().__init__(self.memory, is_bucket=False)

    def kept(self) -> list[str]:
        return sorted(str(item["path"]) for batch in self.memory.list() for item in batch)

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Nobody listens where the store should be."""
        self._store = S3Store(
            "photos", endpoint="http://127.0.0.1:1", client_options=_PLAIN, retry_config=_NO_RETRY, **_KEYS
        )
        try:
            yield
        finally:
            self._store = self.memory


class S3Server:
    """Starts and ends one server with one empty bucket.

    Args:
        port: A free port.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        # The server keeps its bytes in memory and knows any credentials.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env={**os.environ, "MOTO_PORT": str(port)}, **quiet)  # type: ignore[call-overload]
        deadline = time.monotonic() + 60
        while True:
            try:
                self.make_bucket(BUCKET)
                return
            except urllib.error.URLError:  # noqa: PERF203
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise RuntimeError(f"the S3 server did not start at {self.url}") from None
                time.sleep(0.05)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process needs to use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        request = urllib.request.Request(f"{self.url}/{name}", method="PUT")  # noqa: S310 - loopback
        urllib.request.urlopen(request, timeout=5).close()  # noqa: S310

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
