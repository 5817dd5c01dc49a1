from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"VLMIR_{name.upper()}", raising=False)


def test_defaults_need_no_environment() -> None:
    settings = Settings()
    assert settings.redis_url is None
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)


def test_every_field_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_environment_overrides_with_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMIR_REDIS_URL", "redis://queue:6379/0")
    monkeypatch.setenv("VLMIR_LEASE_S", "2.5")
    settings = Settings()
    assert settings.redis_url == "redis://queue:6379/0"
    assert settings.lease_s == 2.5


def test_empty_variable_means_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMIR_REDIS_URL", "")
    assert Settings().redis_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("REDIS_URL", "http://queue"),
        ("REDIS_URL", "redis+sentinel://queue"),
        ("DEAD_TTL_S", "-1"),
        ("LEASE_S", "0"),
        ("NAMESPACE", "a b"),
        ("NAMESPACE", "{x}"),
        ("LOG_LEVEL", "loud"),
        ("MODELS", "small,small"),
        ("MODELS", ","),
        ("MODEL", "=small"),
        ("MODEL", "/"),
    ],
)
def test_value_out_of_range_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"VLMIR_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


@pytest.mark.parametrize(
    ("device", "workers", "expected"),
    [
        ("auto", 0, ("auto",)),
        ("cpu", 3, ("cpu", "cpu", "cpu")),
        ("cuda:0, cuda:1", 0, ("cuda:0", "cuda:1")),
        ("cuda:0,cuda:1", 3, ("cuda:0", "cuda:1", "cuda:0")),
        ("cuda:0,cuda:1", 1, ("cuda:0",)),
        (",", 0, ("auto",)),
    ],
)
def test_workers_take_devices_in_turn(device: str, workers: int, expected: tuple[str, ...]) -> None:
    assert Settings(device=device, workers=workers).worker_devices == expected


def test_models_win_over_the_single_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [model.name for model in Settings().served_models] == ["small"]
    monkeypatch.setenv("VLMIR_MODEL", "/runs/noise")
    assert [model.name for model in Settings().served_models] == ["noise"]
    monkeypatch.setenv("VLMIR_MODELS", "tiny,night=/runs/low-light")
    assert [(model.name, model.place) for model in Settings().served_models] == [
        ("tiny", "tiny"),
        ("night", "/runs/low-light"),
    ]


def test_state_dir_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Settings().state_dir == tmp_path / "vlmir"


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_state_dir_ignores_an_unusable_xdg_value(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings().state_dir == tmp_path / ".local" / "state" / "vlmir"


def test_environment_gives_a_child_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(port=8123, lease_s=2.5, log_json=True, state_dir=tmp_path)
    environment = settings.environment("unix:///run/queue.sock")
    assert "PATH" in environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings.model_copy(update={"redis_url": "unix:///run/queue.sock"})
