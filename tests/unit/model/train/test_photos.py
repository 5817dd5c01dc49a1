"""Data folders: photos upright and large enough, captions by file name, crops from within."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.errors import ModelError
from model.train.photos import Photo, crop_photo, find_photos, load_photos, read_captions
from model.train.pictures import save_grid
from tests.unit.model.samples import generator, write_data, write_jpeg


def ramp(height: int, width: int) -> Photo:
    """A photo whose pixels say where they are."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, np.zeros_like(rows)], 2).astype(np.uint8)
    return Photo(Path("ramp.png"), pixels, ())


def test_photos_are_found_at_any_depth_in_a_fixed_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a/c.JPEG", "a/b/d.png"):
        write_jpeg(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    names = [path.relative_to(tmp_path).as_posix() for path in find_photos([tmp_path])]
    assert names == ["a/b/d.png", "a/c.JPEG", "b.jpg"]
    assert [photo.path for photo in load_photos([tmp_path])] == find_photos([tmp_path])


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_folders_without_photos_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=f"{name}: no images found .*give --data a folder of photos"):
        find_photos([tmp_path / name])


def test_captions_go_with_their_photos(tmp_path: Path) -> None:
    write_data(tmp_path, 3)
    write_jpeg(tmp_path / "z.jpg")
    photos = load_photos([tmp_path])
    assert [len(photo.captions) for photo in photos] == [2, 2, 2, 0]
    assert photos[0].captions[0] == "a dog cat runs sits"


def test_caption_lines_without_a_tab_are_refused_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "captions.tsv").write_text("a.jpg\ta dog\nb.jpg a cat\n", encoding="utf-8")
    with pytest.raises(ModelError, match=r"captions\.tsv:2: got 'b\.jpg a cat'"):
        read_captions(tmp_path)
    assert read_captions(tmp_path / "nowhere") == {}


def test_small_photos_are_enlarged(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a.jpg", 20, 50)
    write_jpeg(tmp_path / "b.jpg", 90, 70)
    shapes = [photo.pixels.shape for photo in load_photos([tmp_path], min_side=60)]
    assert shapes == [(60, 150, 3), (90, 70, 3)]


def test_names_can_be_left_out_or_kept(tmp_path: Path) -> None:
    write_data(tmp_path, 4)
    chosen = frozenset({"1.jpg", "3.jpg"})
    assert [photo.path.name for photo in load_photos([tmp_path], exclude=chosen)] == ["0.jpg", "2.jpg"]
    assert [photo.path.name for photo in load_photos([tmp_path], only=chosen)] == ["1.jpg", "3.jpg"]


def test_photos_are_turned_upright_and_made_rgb(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("L", (40, 20), 99).save(tmp_path / "gray.jpg", exif=exif)
    pixels = load_photos([tmp_path])[0].pixels
    assert pixels.shape == (40, 20, 3)
    assert pixels.dtype == np.uint8
    assert int(pixels[5, 5, 0]) == pytest.approx(99, abs=1)


@pytest.mark.parametrize("seed", range(8))
def test_crops_are_windows_of_the_photo_perhaps_mirrored(seed: int) -> None:
    crop = crop_photo(ramp(60, 90), 32, generator(seed))
    assert crop.shape == (3, 32, 32)
    assert crop.dtype == torch.uint8
    rows, columns = crop[0].int(), crop[1].int()
    assert bool((rows.diff(dim=0) == 1).all())
    assert abs(int(columns[0, 1] - columns[0, 0])) == 1
    assert int(rows.max()) < 60
    assert int(columns.max()) < 90
    assert torch.equal(crop, crop_photo(ramp(60, 90), 32, generator(seed)))


def test_crops_reach_every_corner_and_both_directions() -> None:
    crops = [crop_photo(ramp(34, 34), 32, generator(seed)) for seed in range(60)]
    assert {int(crop[0].min()) for crop in crops} == {0, 1, 2}
    assert {int(crop[1].min()) for crop in crops} == {0, 1, 2}
    assert {bool(crop[1, 0, 0] < crop[1, 0, 1]) for crop in crops} == {True, False}


@pytest.mark.parametrize("seed", range(4))
def test_shrunk_and_turned_crops_keep_their_size(seed: int) -> None:
    crop = crop_photo(ramp(70, 50), 32, generator(seed), max_shrink=3.0, rotate=True)
    assert crop.shape == (3, 32, 32)


@pytest.mark.parametrize("size", [(31, 90), (90, 31)])
def test_photos_smaller_than_the_crop_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ModelError, match=r"ramp\.png: got .* expected at least 32 on both sides"):
        crop_photo(ramp(*size), 32, generator())


def test_sheets_of_pictures(tmp_path: Path) -> None:
    save_grid(torch.rand(5, 3, 8, 8, generator=generator()) * 2 - 0.5, 3, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet.jpg") as image:
        assert image.size == (3 * 10 + 2, 2 * 10 + 2)
