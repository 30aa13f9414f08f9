"""The report about photon noise, on two small pictures."""

from pathlib import Path

from benchmarks.quality import photon_noise
from tests.support.image_folders import noise_pictures
from tests.support.markdown import cells


def test_the_report_has_a_row_for_each_peak_and_read_noise(tmp_path: Path) -> None:
    pictures = noise_pictures(tmp_path / "pictures")
    options = ["--models", "n3unet", "--peaks", "5", "30", "--read-noises", "0", "3", "--out", str(tmp_path)]
    photon_noise.main([str(pictures), *options])
    rows = [
        cells(line) for line in (tmp_path / "photon-noise.md").read_text().splitlines() if line.startswith(("| 5 |", "| 30 |"))
    ]
    assert [row[:2] for row in rows] == 2 * [["5", "0"], ["5", "3"], ["30", "0"], ["30", "3"]]
    assert all(len(row) == 9 for row in rows)
    assert all(float(row[3]) > float(row[2]) for row in rows[:4])
