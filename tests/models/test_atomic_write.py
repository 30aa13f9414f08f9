"""A file is there whole or not at all, and as readable as any other."""

from pathlib import Path

import pytest

from models.atomic_write import atomic_write


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with atomic_write(target) as part:
        part.write_bytes(b"new")
        assert part.parent == tmp_path
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(target) as part:
            part.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match="directory"), atomic_write(tmp_path / "a.png") as part:
        part.write_bytes(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_result_is_as_readable_as_any_new_file(tmp_path: Path, replaced: bool) -> None:
    (tmp_path / "new").touch()
    with atomic_write(tmp_path / "a.png") as part:
        part.write_bytes(b"x")
        if replaced:
            (tmp_path / "private").touch(0o600)
            (tmp_path / "private").replace(part)
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "new").stat().st_mode
