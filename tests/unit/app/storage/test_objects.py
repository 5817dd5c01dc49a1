"""Object stores in memory and in a folder: the same behaviour, and nothing half."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from app.storage.errors import StorageSetupError, StorageUnavailableError
from app.storage.objects import ObjectStore
from app.storage.urls import StoragePlace

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "memory":
        return ObjectStore(MemoryStore(), is_bucket=False)
    return ObjectStore.at(StoragePlace("file", prefix=str(tmp_path / "photos")))


async def test_bytes_come_back_whole_and_in_parts(store: ObjectStore) -> None:
    data = bytes(range(256)) * 4
    await store.put("image/a", data, "image/png")
    assert await store.get("image/a") == data
    assert await store.size("image/a") == len(data)
    assert await store.part("image/a", 10, 20) == data[10:20]
    assert await store.part("image/a", 1000, 2000) == data[1000:]
    await store.put("image/a", b"other")
    assert await store.get("image/a") == b"other"


async def test_what_is_missing_is_none(store: ObjectStore) -> None:
    assert await store.get("image/a") is None
    assert await store.size("image/a") is None
    assert await store.part("image/a", 0, 10) == b""
    assert await store.sign("image/a", 60) is None


async def test_deleting_passes_over_what_is_missing(store: ObjectStore) -> None:
    await store.put("image/a", b"a")
    await store.put("image/c", b"c")
    await store.delete(["image/a", "image/b", "image/c"])
    assert [await store.get(f"image/{name}") for name in "abc"] == [None] * 3


async def test_a_folder_is_its_owners_and_keeps_nothing_half(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "photos"
    store = ObjectStore.at(StoragePlace("file", prefix=str(folder)))
    assert folder.stat().st_mode & 0o077 == 0
    await store.put("result/a-1", b"x" * 100_000)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == ["result/a-1"]
    # Another process sees it: nothing is kept in this one.
    assert await ObjectStore.at(StoragePlace("file", prefix=str(folder))).size("result/a-1") == 100_000


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("key", ["../a", "image/../../a", "/etc/passwd", "image/a/.."])
async def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    store = ObjectStore.at(StoragePlace("file", prefix=str(tmp_path / "photos")))
    (tmp_path / "a").write_bytes(b"secret")
    with contextlib.suppress(StorageUnavailableError):
        await store.put(key, b"mine")
    assert (tmp_path / "a").read_bytes() == b"secret"
    assert names(tmp_path) == {"a", "photos"}


async def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "photos").write_bytes(b"a file is in the way")
    with pytest.raises(StorageSetupError, match="cannot be opened"):
        ObjectStore.at(StoragePlace("file", prefix=str(tmp_path / "photos")))


async def test_a_folder_that_goes_away_is_no_lost_photo(tmp_path: Path) -> None:
    store = ObjectStore.at(StoragePlace("file", prefix=str(tmp_path / "photos")))
    (tmp_path / "photos" / "image").write_bytes(b"a file where a folder must be")
    with pytest.raises(StorageUnavailableError, match="written"):
        await store.put("image/a", b"a")
