from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from model.degradation.command import degrade_command


def run(*arguments: str | Path) -> Result:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(degrade_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 40x30 picture that is stored lying on its side, as phones do."""
    pixels = np.random.default_rng(0).integers(60, 200, (40, 30, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def test_a_photo_is_damaged_upright_and_by_its_seed(photo: Path, tmp_path: Path) -> None:
    pictures = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        target = tmp_path / f"{name}.png"
        result = run(photo, "-o", target, "--kind", "rain", "--severity", "0.8", "--seed", str(seed))
        assert result.exit_code == 0, result.output
        with Image.open(target) as picture:
            assert picture.size == (40, 30)
            pictures.append(np.asarray(picture))
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_several_kinds_and_the_mask_of_holes(photo: Path, tmp_path: Path) -> None:
    target, mask_target = tmp_path / "out.jpg", tmp_path / "mask.png"
    arguments = ["--kind", "noise", "--kind", "inpainting", "--severity", "0.2", "--severity", "0.5"]
    result = run(photo, "-o", target, *arguments, "--mask-out", mask_target)
    assert result.exit_code == 0, result.output
    with Image.open(mask_target) as mask:
        levels = np.asarray(mask)
    assert levels.shape == (30, 40)
    assert set(np.unique(levels)) == {0, 255}
    assert 0.15 < (levels == 255).mean() < 0.35


def test_severity_zero_writes_the_same_pixels(photo: Path, tmp_path: Path) -> None:
    assert run(photo, "-o", tmp_path / "out.png", "--kind", "snow", "--severity", "0").exit_code == 0
    with Image.open(tmp_path / "out.png") as out, Image.open(photo) as before:
        assert np.array_equal(np.asarray(out), np.rot90(np.asarray(before), -1))


def test_the_contact_sheet_shows_every_kind(photo: Path, tmp_path: Path) -> None:
    result = run(photo, "-o", tmp_path / "sheet.jpg", "--contact-sheet")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.size[0] > 1000
        assert sheet.size[1] > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "rain"], "-o FILE.png"),
        (["-o", "out.png"], "name at least one --kind"),
        (["-o", "out.png", "--kind", "fog"], "unknown --kind 'fog'"),
        (["-o", "out.png", "--kind", "rain", "--severity", "1.5"], "expected 0 (no damage) to 1"),
        (
            ["-o", "out.png", "--kind", "rain", "--severity", "0.1", "--severity", "0.2"],
            "got 2 --severity for 1 --kind",
        ),
        (["-o", "out.abc", "--kind", "rain"], "unknown picture format '.abc'"),
        (["-o", "missing/out.png", "--kind", "rain"], "does not exist"),
        (["-o", "out.png", "--kind", "rain", "--contact-sheet"], "leave out --kind"),
    ],
)
def test_mistakes_are_explained(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(photo, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_file_that_is_no_photo_is_explained(tmp_path: Path) -> None:
    text = tmp_path / "note.txt"
    text.write_text("not a photo")
    for path in (text, tmp_path / "absent.jpg"):
        result = run(path, "-o", tmp_path / "out.png", "--kind", "rain")
        assert result.exit_code == 2
        assert path.name in "".join(result.output.split())
