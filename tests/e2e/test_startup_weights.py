"""Damaged weights end a worker, and the service that watches it, once and with the file's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from app.storage.setup import Storage
from app.worker.__main__ import _run
from model.checkpoint import WEIGHTS_DIR
from tests.support.roles import Role, page_row, start_role
from tests.support.workers import write_model

pytestmark = pytest.mark.slow


def corrupt(folder: Path) -> None:
    path = folder / "predictor.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 0x10
    path.write_bytes(data)


def cut(folder: Path) -> None:
    path = folder / "restorer.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def lose_a_shard(folder: Path) -> None:
    first, second = (folder / f"restorer-0000{number}-of-00002.safetensors" for number in (1, 2))
    (folder / "restorer.safetensors").rename(first)
    manifest = folder / "manifest.json"
    sums = json.loads(manifest.read_text())
    sums |= {first.name: sums.pop("restorer.safetensors"), second.name: "0" * 64}
    manifest.write_text(json.dumps(sums))


def lose_all(folder: Path) -> None:
    shutil.rmtree(folder)


# role, what happened to the weights
PROCESSES: dict[str, tuple[tuple[str, ...], Callable[[Path], None]]] = {
    "corrupt": (("serve", "--port", "0"), corrupt),
    "cut": (("worker",), cut),
}
# beginning of the row of docs/startup.md, what happened to the weights
IN_THIS_PROCESS: dict[str, Callable[[Path], None]] = {"manifest.json lists it": lose_a_shard, "no weights": lose_all}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("weights") / "good", seed=3)


@pytest.fixture(scope="module")
def ended(good: Path, redis_url: str) -> Iterator[dict[str, tuple[int, str]]]:
    """Code and output of each process, started at once."""
    running: dict[str, Role] = {}
    try:
        for name, (arguments, damage) in PROCESSES.items():
            folder = shutil.copytree(good, good.with_name(name))
            damage(folder)
            settings = {"MODEL": folder, "REDIS_URL": redis_url, "NAMESPACE": f"weights-{name}", "THREADS": 1}
            running[name] = start_role(good.with_name(f"{name}.log"), *arguments, **settings)
        yield {name: (role.end(), role.output) for name, role in running.items()}
    finally:
        for role in running.values():
            role.process.kill()
            role.process.wait()


@pytest.mark.parametrize("name", PROCESSES)
def test_damaged_weights_end_it_once(ended: dict[str, tuple[int, str]], name: str) -> None:
    row, (code, output) = page_row("sha256 differs"), ended[name]
    assert row.is_in(output), output
    assert code == row.code, output
    assert "safetensors" in output
    assert output.count("the worker cannot work: ") == 1
    assert "a new one starts" not in output
    assert "Traceback" not in output


@pytest.mark.anyio
@pytest.mark.parametrize("row", IN_THIS_PROCESS)
async def test_missing_weights_end_a_worker(
    good: Path, tmp_path: Path, redis_url: str, namespace: str, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    found, folder = page_row(row), shutil.copytree(good, tmp_path / "model")
    IN_THIS_PROCESS[row](folder)
    settings = Settings(redis_url=redis_url, namespace=namespace, model=str(folder), threads=1)
    assert await _run(settings, redis_url, Storage.of(settings)) == found.code
    assert found.is_in(caplog.text)


def test_shipped_weights_have_a_sum_each() -> None:
    for folder in WEIGHTS_DIR.iterdir():
        if (folder / "config.json").is_file():
            listed = (folder / "manifest.json").read_text(encoding="utf-8")
            for file in (*folder.glob("*.safetensors"), folder / "vocabulary.json"):
                assert f'"{file.name}"' in listed, file
