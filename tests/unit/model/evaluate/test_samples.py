"""Photos as files, and the layouts of real sets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from model.errors import ModelError
from model.evaluate.cases import list_cases
from model.evaluate.samples import damage_photos, find_real_sets, read_pairs, read_photo
from tests.unit.model.samples import write_jpeg


@pytest.fixture
def real(tmp_path: Path) -> Path:
    for index in range(2):
        write_jpeg(tmp_path / "lowlight_pairs" / "low" / f"{index}.jpg", 40, 48, index)
        write_jpeg(tmp_path / "lowlight_pairs" / "high" / f"{index}.jpg", 40, 48, index + 10)
        write_jpeg(tmp_path / "noise_crops" / f"{index}_real.JPG", 40, 48, index)
        write_jpeg(tmp_path / "noise_crops" / f"{index}_mean.JPG", 40, 48, index + 10)
        write_jpeg(tmp_path / "raindrop" / f"{index}.jpg", 40, 48, index)
    Image.new("RGB", (9, 9)).save(tmp_path / "raindrop" / "z.bmp")
    (tmp_path / "raindrop" / "notes.txt").write_text("not a photo", encoding="utf-8")
    return tmp_path


def test_photos_are_read_as_they_are(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), (255, 51, 0)).save(tmp_path / "a.png")
    image = read_photo(tmp_path / "a.png")
    assert image.shape == (1, 3, 4, 5)
    torch.testing.assert_close(image[0, :, 0, 0], torch.tensor([1.0, 0.2, 0.0]))


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg").shape == (1, 3, 5, 4)


def test_broken_photos_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no photo")
    with pytest.raises(ModelError, match=r"a\.png: cannot be read as a photo"):
        read_photo(tmp_path / "a.png")


def test_each_photo_is_damaged_with_its_own_seed(tmp_path: Path) -> None:
    path = write_jpeg(tmp_path / "a.jpg", 40, 48)
    first, second = damage_photos(next(list_cases("denoise")), [path, path])
    assert (first.seed, second.seed) == (0, 1)
    assert first.clean is not None
    assert not torch.equal(first.damaged, second.damaged)


def test_real_sets_by_their_layout(real: Path) -> None:
    found = {item.name: item for item in find_real_sets([real])}
    assert list(found) == ["lowlight_pairs", "noise_crops", "raindrop"]
    assert [item.kinds for item in found.values()] == [("low-light",), ("noise",), ("raindrop",)]
    assert [item.has_references for item in found.values()] == [True, True, False]
    assert [len(item.pairs) for item in found.values()] == [2, 2, 3]
    assert found["lowlight_pairs"].pairs[1] == (
        real / "lowlight_pairs/low/1.jpg",
        real / "lowlight_pairs/high/1.jpg",
    )
    assert found["noise_crops"].pairs[0][1] == real / "noise_crops/0_mean.JPG"


def test_one_set_alone_and_few_photos_of_it(real: Path) -> None:
    (found,) = find_real_sets([real / "lowlight_pairs"], limit=1)
    assert (found.name, len(found.pairs)) == ("lowlight_pairs", 1)
    (low,) = find_real_sets([real / "lowlight_pairs" / "low"])
    assert not low.has_references


def test_pairs_are_read_with_their_reference(real: Path) -> None:
    samples = list(read_pairs(find_real_sets([real / "noise_crops"])[0]))
    assert len(samples) == 2
    assert all(item.clean is not None and not torch.equal(item.clean, item.damaged) for item in samples)


def test_lonely_and_unequal_photos_are_named(real: Path) -> None:
    Image.new("RGB", (9, 9)).save(real / "noise_crops" / "1_mean.JPG")
    with pytest.raises(ModelError, match=r"got 48 x 40 px, but its reference .*1_mean.JPG has 9 x 9 px"):
        list(read_pairs(find_real_sets([real / "noise_crops"])[0]))
    (real / "noise_crops" / "1_mean.JPG").unlink()
    with pytest.raises(ModelError, match="noise_crops: 1 has no partner"):
        find_real_sets([real])
    (real / "lowlight_pairs" / "high" / "0.jpg").unlink()
    with pytest.raises(ModelError, match=r"0\.jpg: no photo of that name"):
        find_real_sets([real])


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no photos found"):
        find_real_sets([tmp_path])


@pytest.mark.parametrize("name", ["low", "high"])
def test_a_folder_called_low_or_high_alone_is_a_set_like_any_other(tmp_path: Path, name: str) -> None:
    write_jpeg(tmp_path / "lamps" / name / "a.jpg", 40, 48)
    (found,) = find_real_sets([tmp_path])
    assert (found.name, found.has_references) == (f"lamps/{name}", False)
