"""Pages of documentation whose blocks of code are run: what is printed on them, and a place to run it in.

A block of `bash` or `python` is run; a block of `text` right behind it is what it writes, in which `...` stands for
anything, as in doctest. A block of Python that begins with a comment like `# receiver.py` becomes a file of that name
instead, for blocks behind it to run. Variables of `bash` blocks are there in all blocks behind them, as they are for a
reader who types everything into one shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import doctest
import os
import re
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w-]+\.py)\n")
_BASH = """set -euo pipefail
touch {state}
. {state}
set -a
{code}
export -p > {state}
"""


@dataclass(frozen=True)
class Block:
    """Code on a page.

    Attributes:
        line: Number of its first line.
        language: What the page says it is.
        code: The code.
        expected: What it is said to write, or None.
    """

    line: int
    language: str
    code: str
    expected: str | None

    @property
    def file(self) -> str | None:
        """Name under which the code is to be kept instead of being run, or None."""
        found = _FILE.match(self.code) if self.language == "python" else None
        return found[1] if found else None


def blocks_of(text: str) -> list[Block]:
    """The blocks of a page, in order, without those that say what others write."""
    return [
        Block(text.count("\n", 0, found.start(2)) + 1, found[1], found[2], found[3]) for found in _BLOCK.finditer(text)
    ]


class Shell:
    """Runs blocks in a folder, one after the other.

    Args:
        folder: Where they run; must exist.
        environment: Added to that of the tests.
        places: What stands on the page, and what takes its place here: addresses.
        timeout_s: Longest time for one block.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], places: Mapping[str, str], timeout_s: float = 60.0
    ) -> None:
        self._folder, self._places, self._timeout_s = folder, places, timeout_s
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, **environment}
        self._state = folder / "state.sh"
        self._started: list[int] = []

    async def run(self, block: Block) -> None:
        """Run a block; fails the test when it ends with an error, or writes something else than the page says."""
        code = block.code
        for printed, here in self._places.items():
            code = code.replace(printed, here)
        if block.file is not None:
            (self._folder / block.file).write_text(code, encoding="utf-8")
            return
        assert block.language in ("bash", "python"), f"line {block.line}: nobody runs {block.language} here"
        lines = code if block.language == "bash" else f"python - <<'END OF BLOCK'\n{code}END OF BLOCK"
        status, written, errors = await self._bash(_BASH.format(state=self._state, code=lines), block.line)
        said = f"the block at line {block.line}\n{code}\nwrote\n{written}\nand, of errors,\n{errors}"
        assert status == 0, f"{said}\nand ended with {status}"
        if block.expected is not None:
            is_so = doctest.OutputChecker().check_output(block.expected.strip(), written.strip(), doctest.ELLIPSIS)
            assert is_so, f"{said}\nexpected was\n{block.expected}"

    async def _bash(self, script: str, line: int) -> tuple[int, str, str]:
        # Into files: a pipe would be open for as long as what a block leaves running in the background.
        written, errors = self._folder / f"{line}.out", self._folder / f"{line}.err"
        with written.open("wb") as out, errors.open("wb") as err:
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", script, cwd=self._folder, env=self._environment, stdout=out, stderr=err,
                stdin=asyncio.subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._started.append(process.pid)
        try:
            status = await asyncio.wait_for(process.wait(), self._timeout_s)
        except asyncio.TimeoutError:
            status = -1
        return status, written.read_text("utf-8").replace("\r\n", "\n"), errors.read_text("utf-8")

    def close(self) -> None:
        """End what still runs."""
        for pid in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
