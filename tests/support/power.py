"""A Redis server whose power can fail: what it had not forced to the disk is gone afterwards, as on a real machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.redis_server import RedisServer

SOURCE = Path(__file__).with_name("synced_length.c")


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """The library that notes what is on the disk."""
    library = folder / "synced_length.so"
    command = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


class FrailRedis(RedisServer):
    """A server on a machine that can lose its power.

    Args:
        library: Made by `build`.
        arguments: For the server.
    """

    def __init__(self, library: Path, *arguments: str) -> None:
        super().__init__(*arguments)
        self._note = self.dir / "synced.txt"
        self.environment = {"LD_PRELOAD": str(library), "VLMIR_SYNCED": str(self._note)}

    def synced_bytes(self, path: Path) -> int:
        """How much of a file is on the disk for certain."""
        lines = self._note.read_text(encoding="utf-8").splitlines() if self._note.exists() else []
        lengths = [int(length) for length, _, name in (line.partition(" ") for line in lines) if name == str(path)]
        return lengths[-1] if lengths else 0

    def logs(self) -> list[Path]:
        """The append-only files that grow."""
        return sorted(self.dir.glob("appendonlydir/*.incr.aof")) or sorted(self.dir.glob("appendonly.aof"))

    def lose_power(self) -> int:
        """End it at once and take from its files what was not forced to the disk; gives how many bytes that were."""
        self.kill()
        lost = 0
        for path in self.logs():
            size, kept = path.stat().st_size, self.synced_bytes(path.resolve())
            lost += size - kept
            with path.open("r+b") as file:
                file.truncate(kept)
        return lost
