"""The report folder: continued for the same weights, escaped, self-contained."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from model.config import ModelConfig
from model.errors import ModelError
from model.evaluate.pages import render_page
from model.evaluate.report import Report, fingerprint
from model.pipeline import Restorer

EVIL = "<script>alert('x')</script> & \"co\""


def row(
    case: str, method: str = "model", level: float | None = 0.5, after: float = 25.0, **more: Any
) -> dict[str, Any]:
    return {
        "suite": "ten", "case": case, "method": method, "photos": 2, "steps": 1 if method == "model" else None,
        "kinds": case.split(" ")[:1], "level": level, "psnr_before": 20.0, "psnr_after": after, "gain": after - 20.0,
        "ssim_before": 0.5, "ssim_after": 0.75, "seconds": 1.5, **more,
    }  # fmt: skip


def section(rows: list[dict[str, Any]], pictures: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"data": ["photos"], "options": {}, "missing": {}, "rows": rows, "pictures": pictures or []}


def page(suites: dict[str, Any]) -> str:
    model = {"name": "tiny", "parameters": 12345, "weights": "abc"}
    machine = {"processor": "x86_64", "device": "cpu", "threads": 1, "torch": "2"}
    return render_page({"model": model, "machine": machine, "suites": suites})


class Balance(HTMLParser):
    """Fails on tags that are not closed in order."""

    VOID = frozenset({"meta", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # closed in itself

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_html(text: str) -> None:
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r'(src|href)="(https?:)?//', text)


def test_rows_charts_and_comparisons_are_on_the_page() -> None:
    rows = [
        item
        for level in (0.25, 0.75)
        for item in (
            row(f"noise {level}", level=level, after=26.0),
            row(f"noise {level}", "non-local means", level=level, after=24.5),
            row(f"noise {level}", "weak one", level=level, after=22.0),
        )
    ]
    text = page({"ten": section(rows)})
    check_html(text)
    assert text.count("<svg") == 2
    assert "+1.50" in text
    assert "6 of" not in text
    assert "2 of 2" in text
    assert "noise, best classical: +4.50 dB" in text
    assert "0.500 →" in text


def test_steps_are_drawn_by_what_was_measured() -> None:
    rows = [row("noise sigma 25", gradient_after=3.0 - n, gradient_before=5.0) | {"steps": 2**n} for n in range(3)]
    text = page({"steps": section(rows)})
    check_html(text)
    assert [title in text for title in ("Gradient distance", "Seconds per photo", "LPIPS")] == [True, True, False]


def test_unpaired_rows_have_no_psnr() -> None:
    bare = {key: value for key, value in row("haze").items() if not key.startswith(("psnr", "ssim", "gain"))}
    text = page(
        {"real": section([{**bare, "blur_before": 0.5, "blur_after": 0.25, "noise_before": 3.0, "noise_after": 1.0}])}
    )
    check_html(text)
    assert "Before, dB" not in text
    assert "0.250" in text


def test_everything_is_escaped() -> None:
    picture = {"case": EVIL, "photo": 0, "file": 'pictures/"><script>.jpg', "labels": [EVIL], "width": 5, "height": 5}
    content = section([row(EVIL, EVIL), row(EVIL, EVIL, level=0.75)], [picture])
    content |= {"data": [EVIL], "missing": {EVIL: EVIL}}
    content["rows"][0]["steps"] = 1
    text = page({"ten": content, EVIL: section([row(EVIL)])})
    check_html(text)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_guidance_table() -> None:
    grid = {
        "kinds": ["rain"],
        "severity": 0.5,
        "steps": 1,
        "photos": 2,
        "wrong_captions": 0.75,
        "rows": [
            {"name": "all", "psnr": {"rain": 26.25}, "mean": 27.125},
            {"name": "oracle", "psnr": {}, "mean": None},
        ],
    }
    text = page({"ablation": {**section([]), "grid": grid}})
    check_html(text)
    assert "27.12" in text or "27.13" in text
    assert "26.25" in text
    assert "for 75 %" in text


def test_suites_add_up_for_the_same_weights(restorer: Restorer, tmp_path: Path) -> None:
    first = Report(tmp_path / "out", restorer)
    assert not first.is_continued
    first.put("ten", section([row("noise 0.5")]))
    second = Report(tmp_path / "out", restorer)
    assert second.is_continued
    second.put("jpeg", section([row("jpeg quality 10")]))
    found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert list(found["suites"]) == ["ten", "jpeg"]
    check_html((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))


def test_a_report_of_other_weights_is_replaced(restorer: Restorer, tiny: ModelConfig, tmp_path: Path) -> None:
    other = Restorer.random(tiny, seed=1)
    assert fingerprint(other) != fingerprint(restorer) == fingerprint(Restorer.random(tiny))
    Report(tmp_path, other).put("ten", section([row("noise 0.5")]))
    report = Report(tmp_path, restorer)
    assert not report.is_continued
    report.put("jpeg", section([row("jpeg quality 10")]))
    assert list(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["suites"]) == ["jpeg"]


def test_other_files_are_not_overwritten(restorer: Restorer, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("my notes", encoding="utf-8")
    with pytest.raises(ModelError, match="not a report"):
        Report(tmp_path, restorer)


def test_a_real_folder_called_clean_is_not_the_suite_of_clean_photos() -> None:
    bare = {key: value for key, value in row("clean").items() if not key.startswith(("psnr", "ssim", "gain"))}
    real = section([{**bare, "suite": "real", "kinds": [], "blur_before": 0.5, "blur_after": 0.25}])
    check_html(page({"real": real}))
    both = page({"real": real, "clean": section([row("clean", after=41.5) | {"suite": "clean", "kinds": []}])})
    assert "41.50 dB" in both
    held = {"psnr_capped_before": 45.0, "psnr_capped_after": 40.25, "psnr_worst_before": 100.0}
    clean = row("clean", after=47.5) | held | {"psnr_worst_after": 33.75, "worst": EVIL, "suite": "clean", "kinds": []}
    both = page({"clean": section([clean])})
    check_html(both)
    assert "47.50 dB" in both
    assert "40.25 dB" in both
    assert "33.75 dB" in both


def test_a_report_of_another_configuration_is_replaced(tiny: ModelConfig) -> None:
    """The same weights with other numbers of steps behave differently."""
    other = dataclasses.replace(tiny, steps={**tiny.steps, "balanced": tiny.steps["balanced"] + 1})
    assert fingerprint(Restorer.random(other)) != fingerprint(Restorer.random(tiny))


def test_every_suite_keeps_the_machine_that_it_was_measured_on(restorer: Restorer, tmp_path: Path) -> None:
    Report(tmp_path, restorer).put("ten", section([row("noise 0.5")]))
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    machine = json.loads(text)["suites"]["ten"]["machine"]
    assert set(machine) == {"processor", "device", "threads", "torch"}
    (tmp_path / "report.json").write_text(
        text.replace(f'"threads": {machine["threads"]}', '"threads": 77'), encoding="utf-8"
    )
    Report(tmp_path, restorer).put("jpeg", section([row("jpeg quality 10")]))
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["suites"]
    assert (found["ten"]["machine"]["threads"], found["jpeg"]["machine"]) == (77, machine)
    assert "77 threads" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_some_cases_of_a_suite_replace_only_themselves(restorer: Restorer, tmp_path: Path) -> None:
    def picture(case: str, file: str) -> dict[str, Any]:
        return {"case": case, "photo": 0, "file": file, "labels": [], "width": 5, "height": 5}

    report = Report(tmp_path, restorer)
    pictures = [picture("haze 0.5", "a.jpg"), picture("noise 0.5", "b.jpg"), picture("rain 0.5", "c.jpg")]
    report.put("ten", section([row("haze 0.5"), row("noise 0.5"), row("rain 0.5")], pictures))
    some = section([row("noise 0.5", after=30.0), row("noise 0.5", "median")], [picture("noise 0.5", "new.jpg")])
    report.put("ten", {**some, "options": {"only": "noise"}}, merge=True)
    report.put("ten", {**section([row("snow 0.5")]), "options": {"only": "snow"}}, merge=True)
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["suites"]["ten"]
    assert [item["case"] for item in found["rows"]] == ["haze 0.5", "noise 0.5", "noise 0.5", "rain 0.5", "snow 0.5"]
    assert found["rows"][1]["psnr_after"] == 30.0
    assert [item["file"] for item in found["pictures"]] == ["a.jpg", "new.jpg", "c.jpg"]
    assert found["options"].get("only") is None


@pytest.mark.parametrize("change", [{"data": ["others"]}, {"options": {"only": "noise", "limit": 1}}])
def test_cases_measured_otherwise_do_not_join_a_suite(
    restorer: Restorer, tmp_path: Path, change: dict[str, Any]
) -> None:
    report = Report(tmp_path, restorer)
    report.put("ten", section([row("haze 0.5")]))
    with pytest.raises(ModelError, match="measured with other photos or options"):
        report.put("ten", {**section([row("noise 0.5")]), **change}, merge=True)
    assert [item["case"] for item in report.content["suites"]["ten"]["rows"]] == ["haze 0.5"]
