"""From settings to storage, and settings that cannot be meant."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings
from app.storage.errors import StorageSetupError
from app.storage.setup import Storage, below
from app.storage.urls import StoragePlace


def test_redis_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    assert Storage.of(Settings()).objects is None


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(StorageSetupError, match=r"pip install 'vlmir\[storage\]'"):
        Storage.of(Settings(storage=f"file://{tmp_path}"))


def test_services_share_a_place_by_namespace() -> None:
    place = StoragePlace("s3", "photos", "vlmir")
    assert below(place, "") == place
    assert below(place, "blue") == StoragePlace("s3", "photos", "vlmir/blue")
    assert below(StoragePlace("s3", "photos"), "blue") == StoragePlace("s3", "photos", "blue")
    assert below(StoragePlace("file", prefix="/data"), "blue") == StoragePlace("file", prefix="/data/blue")
    for name in (".", ".."):
        with pytest.raises(StorageSetupError, match="part of a path"):
            below(place, name)


@pytest.mark.parametrize("storage", ["", "S3://photos", "s3://", "http://photos", "/var/lib", "file://photos"])
def test_strange_storage_is_refused(storage: str) -> None:
    with pytest.raises(ValidationError):
        Settings(storage=storage)


@pytest.mark.parametrize("name", ["input_prefixes", "output_prefixes"])
def test_callers_cannot_be_let_near_the_services_own_photos(name: str) -> None:
    for prefixes in ("s3://photos", "s3://photos/vlmir/result/", "s3://others/, s3://photos/{tenant}/"):
        with pytest.raises(ValidationError, match="VLMIR_STORAGE"):
            Settings(storage="s3://photos/vlmir", **{name: prefixes})  # type: ignore[arg-type]
    given = Settings(storage="s3://photos/vlmir", **{name: "s3://photos/in/"})  # type: ignore[arg-type]
    assert getattr(given, name) == "s3://photos/in/"
