"""A pickle under the name of weights is refused, and nothing in it is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from model.checkpoint import ModelFolder
from model.config import load_config
from model.errors import CheckpointError
from model.pipeline import Restorer, build_network
from tests.support.workers import write_model


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _spring, (str(self.place),)


def _spring(place: str) -> None:
    Path(place).mkdir()


@pytest.mark.parametrize("with_manifest", [False, True])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_pickled_weights_are_refused(tmp_path: Path, form: str, with_manifest: bool) -> None:
    folder, sprung = write_model(tmp_path / "model", seed=1), tmp_path / "sprung"
    weights = folder / "restorer.safetensors"
    if form == "pickle":
        weights.write_bytes(pickle.dumps(Trap(sprung)))
    else:
        torch.save({"weight": torch.ones(2), "trap": Trap(sprung)}, weights)
    if not with_manifest:
        (folder / "manifest.json").unlink()
    reason = "sha256 differs" if with_manifest else "not a readable safetensors file"
    with pytest.raises(CheckpointError, match=reason):
        ModelFolder(folder).load_part("restorer", build_network(load_config("tiny")))
    with pytest.raises(CheckpointError, match=reason):
        Restorer.load(folder)
    assert not sprung.exists()


def test_the_trap_works(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(sprung)))  # noqa: S301 - our own
    assert sprung.exists()
