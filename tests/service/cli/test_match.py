"""`n3denoise match`, run as a user runs it, on pictures whose geometry is known."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.transform import resize
from typer.testing import CliRunner, Result

from models.methods import method_names
from models.weights.files import load_weights
from service.__main__ import app

WIDTH, HEIGHT, FOCAL = 200, 150, 190.0
SHIFT = np.array((0.3, 0.0, 0.0))
"""The second camera is this far to the right of the first one."""


def match(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["match", *map(str, arguments)])


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two views of two textured walls, at depths 3 and 2: the lower half of the pictures is nearer."""
    rng = np.random.default_rng(0)
    texture = sum(resize(gaussian_filter(rng.random((side, side)), 1), (320, 320), order=1) for side in (30, 80, 160))
    texture = (texture - texture.min()) / np.ptp(texture)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    depth = np.where(rows < HEIGHT / 2, 3.0, 2.0)
    folder = tmp_path_factory.mktemp("stereo")
    paths = folder / "left.png", folder / "right.png"
    for path, shift in zip(paths, (0.0, SHIFT[0]), strict=True):
        moved = columns + FOCAL * shift / depth
        picture = map_coordinates(texture, [rows + 60, moved + 40], order=1)
        Image.fromarray(np.rint(picture * 255).astype(np.uint8)).save(path)
    return paths


def test_a_stereo_pair_gives_its_motion(stereo: tuple[Path, Path]) -> None:
    done = match(*stereo, "--focal", FOCAL)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["weights"] == {"name": "correspondences", "sha256": load_weights("correspondences").sha256}
    assert found["cameras"][1] == {"focal": FOCAL, "x": (WIDTH - 1) / 2, "y": (HEIGHT - 1) / 2, "guessed": False}
    assert np.abs(np.array(found["rotation"]) - np.eye(3)).max() < 0.03
    assert np.array(found["translation"]) @ -SHIFT / 0.3 > 0.95
    true = {row: FOCAL * 0.3 / depth for row, depth in ((0, 3), (1, 2))}
    errors, inliers = [], []
    for each in found["matches"]:
        (x1, y1), (x2, y2) = each["first"], each["second"]
        errors.append(max(abs(y1 - y2), abs(x1 - x2 - true[int(y1 > HEIGHT / 2)])))
        inliers.append(each["inlier"])
        assert 0 <= each["probability"] <= 1
    correct = np.array(errors) < 1
    assert correct.sum() > 50
    assert np.mean(np.array(inliers)[correct]) > 0.95
    assert found["inliers"] == sum(each["inlier"] for each in found["matches"])


def test_without_a_focal_length_there_is_a_fundamental_matrix(stereo: tuple[Path, Path], tmp_path: Path) -> None:
    done = match(*stereo, "-o", tmp_path / "new" / "out.json", "--detector", "orb")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    found = json.loads((tmp_path / "new" / "out.json").read_text())
    assert not {"essential_matrix", "rotation", "translation"} & {*found}
    assert found["cameras"][0]["focal"] == pytest.approx(1.2 * WIDTH)
    assert found["cameras"][0]["guessed"]
    f = np.array(found["fundamental_matrix"])
    assert np.linalg.norm(f) == pytest.approx(1)
    lines = [f @ (*each["first"], 1) for each in found["matches"] if each["inlier"]]
    places = [each["second"] for each in found["matches"] if each["inlier"]]
    apart = [abs(line @ (*place, 1)) / np.hypot(*line[:2]) for line, place in zip(lines, places, strict=True)]
    assert max(apart) < 5


def test_a_picture_of_the_matches(stereo: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "matches.png"
    assert match(*stereo, "-o", out, "--detector", "orb").exit_code == 0
    drawn = Image.open(io.BytesIO(out.read_bytes()))
    assert (drawn.size, drawn.mode) == ((2 * WIDTH, HEIGHT), "RGB")
    colors = np.asarray(drawn).astype(int)
    assert (np.ptp(colors, axis=2) > 60).sum() > 500  # lines are colored, the pictures are gray
    before = out.read_bytes()
    again = match(*stereo, "-o", out)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert out.read_bytes() == before
    assert match(*stereo, "-o", out, "--detector", "orb", "--force").exit_code == 0


def test_two_cameras(stereo: tuple[Path, Path]) -> None:
    options = ("--focal", 190, "--focal2", 195, "--center", 90, 70, "--center2", 105, 80, "--detector", "orb")
    found = json.loads(match(*stereo, *options).stdout)
    assert [(each["focal"], each["x"], each["y"]) for each in found["cameras"]] == [(190, 90, 70), (195, 105, 80)]


def test_errors_say_what_is_wrong(stereo: tuple[Path, Path], tmp_path: Path) -> None:
    flat, text = tmp_path / "flat.png", tmp_path / "text.png"
    Image.new("L", (80, 60), 128).save(flat)
    text.write_text("hello")
    for arguments, code, message in (
        ((flat, stereo[1]), 1, "there are 0 putative matches, but at least 8 are needed"),
        ((text, stereo[1]), 1, "text.png"),
        ((stereo[0], tmp_path / "absent.png"), 2, "does not exist"),
        ((*stereo, "-o", tmp_path / "out.xyz"), 2, "unknown suffix"),
        ((*stereo, "--center", 1, 2), 2, "need --focal"),
        ((*stereo, "--weights", "n3net"), 2, "not those of a network that classifies matches"),
        ((*stereo, "--weights", "absent"), 2, "no weights 'absent'"),
    ):
        done = match(*arguments)
        assert done.exit_code == code, done.output
        assert message in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    assert not (tmp_path / "out.xyz").exists()


def test_its_weights_are_listed_but_do_nothing_else(stereo: tuple[Path, Path], tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["weights", "list"]).stdout.splitlines()
    sha256 = load_weights("correspondences").sha256
    assert f"correspondences  matches of two pictures  sha256 {sha256}" in listed
    assert "correspondences" not in method_names()
    denoise = ["denoise", str(stereo[0]), "-o", str(tmp_path / "out.png"), "--model", "n3unet", "--weights", "correspondences"]
    train = ["train", str(stereo[0].parent), "-o", str(tmp_path / "run"), "--from", "correspondences", "--steps", "1"]
    for command, message in ((denoise, "classify matches and cannot denoise"), (train, "sees no images")):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, done.output
        assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "out.png").exists()
