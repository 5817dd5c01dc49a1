"""Ends an embedded Redis server whose service was killed, once nobody needs it any more.

The server does not end with the supervisor: workers still commit what they have in hand. So each process that ends
because the supervisor is gone comes here at last, and the one that finds nobody else connected stops the server.
Without it the next service would stop the server, but until then it would keep its memory for nobody.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from app.jobs.embedded import ask_server, find_socket, try_lock

WAIT_S = 3.0
"""Time in which others that end too may go first."""


def end_orphan(state_dir: Path, wait_s: float = WAIT_S) -> bool:
    """Stop the server of a state folder if no service owns the folder and no other process is connected.

    Args:
        state_dir: Folder of a service that was killed.
        wait_s: Time for others to leave; whoever is still connected then needs the server.

    Returns:
        Whether it was told to stop.
    """
    folder = state_dir.expanduser().absolute() / "redis"
    try:
        with (folder / "orphan.lock").open("a+") as leaving:
            if not try_lock(leaving):  # another process that ends waits here, and will find us gone
                return False
            deadline_s = time.monotonic() + wait_s
            while not _is_owned(folder):
                path = find_socket(folder)
                clients = _count_clients(path)
                if clients == 1 and not _is_owned(folder):  # this question's own connection
                    ask_server(path, b"SHUTDOWN\r\n")
                    return True
                if clients == 0 or time.monotonic() > deadline_s:
                    return False
                time.sleep(0.1)
    except OSError:  # the folder is gone, or the disk is full: whoever starts next will see to it
        pass
    return False


def _is_owned(folder: Path) -> bool:
    """Say whether a service has the folder; asking takes the lock for a moment."""
    with (folder / "service.lock").open("a+") as lock:
        return not try_lock(lock)


def _count_clients(path: Path) -> int:
    """Give the number of connections, this one among them; 0 when no server answers."""
    match = re.search(rb"connected_clients:(\d+)", ask_server(path, b"INFO clients\r\n"))
    return 0 if match is None else int(match[1])
