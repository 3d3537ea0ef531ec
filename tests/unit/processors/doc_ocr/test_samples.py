"""The samples are what the script draws, and are fit to be shown."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from scripts import make_sample_page


def test_the_samples_are_what_the_script_draws() -> None:
    """Pixel by pixel; `python -m scripts.make_sample_page` draws them again."""
    assert make_sample_page.stale() == []


def test_a_changed_or_missing_sample_is_noticed(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    for name, data in make_sample_page.samples().items():
        (tmp_path / name).write_bytes(data)
    assert make_sample_page.stale(tmp_path) == []

    with Image.open(tmp_path / "page.png") as picture:
        changed = picture.convert("L")
    changed.putpixel((5, 5), 0)
    changed.save(tmp_path / "page.png")
    (tmp_path / "pages.txt").unlink()

    assert make_sample_page.stale(tmp_path) == ["page.png", "pages.txt"]


def test_the_samples_are_small() -> None:
    """They are in every clone."""
    assert all(path.stat().st_size < 50_000 for path in make_sample_page.SAMPLES.iterdir())


def test_the_sum_on_the_page_is_right() -> None:
    """Somebody will add it up."""
    _, *rows, total = make_sample_page.TABLE

    assert [f"{sum(float(row[column]) for row in rows):g}" for column in (1, 2, 3)] == list(total[1:])
