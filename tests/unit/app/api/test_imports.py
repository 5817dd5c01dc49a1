"""The API process stays small: nothing heavy is imported to serve."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_api_imports_no_torch_and_no_worker() -> None:
    code = (
        "import sys, app.api.app, app.client; "
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'model', 'open_clip', 'diffusers') "
        "or name.startswith('app.worker')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to read a process's memory")
def test_idle_api_process_takes_less_than_150_megabytes() -> None:
    code = (
        "import asyncio, uvicorn\n"
        "from app.api.app import create_app\n"
        "from app.settings import Settings\n"
        "app = create_app(Settings(redis_url='redis://127.0.0.1:1'))\n"
        "async def main():\n"
        "    async with app.router.lifespan_context(app):\n"
        "        app.openapi()\n"
        "        print(next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1])\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) < 150 * 1024
