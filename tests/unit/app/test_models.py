"""Lists of models: names, folders, and folders under a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.models import ServedModel, list_names, parse_model, parse_models


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("small", "small", "small"),
        ("/models/low-light", "low-light", "/models/low-light"),
        ("runs/noise/", "noise", "runs/noise/"),
        ("night=/models/a", "night", "/models/a"),
        ("/runs/my model (2)", "my-model-2", "/runs/my model (2)"),
        ("runs/lr=1e-3", "lr-1e-3", "runs/lr=1e-3"),
        ("a=b=c", "a", "b=c"),
        ("a=b/c", "a", "b/c"),
        ("runs/a=b", "a-b", "runs/a=b"),
        ("./lr=1e-3", "lr-1e-3", "./lr=1e-3"),
        ("night = /models/a", "night", "/models/a"),
    ],
)
def test_each_model_has_a_name_and_a_place(text: str, name: str, place: str) -> None:
    assert parse_model(text) == ServedModel(name, place)


def test_folders_by_a_relative_path_are_called_by_their_own_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert parse_model(".").name == "mine"
    assert parse_model("../mine").name == "mine"


def test_lists_keep_their_order_and_pass_over_empty_parts() -> None:
    models = parse_models(" small, night=/models/a ,,runs/noise,")
    assert list_names(models) == "small, night, noise"
    assert parse_models("") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("small,runs/small", "two models are called 'small'"),
        ("a=x,b=y,a=z", "two models are called 'a'"),
        ("/", "gives no name"),
        ("small,=x/--", "gives no name"),
        ("=foo", "'=foo' gives no name"),
        ("my model=/m/a", "got 'my model' before the `=`"),
        ("small,night=", "gives no place for the model 'night'"),
        (",", "',' lists no model"),
        (" , ", "lists no model"),
    ],
)
def test_models_without_a_name_of_their_own_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_models(text)
