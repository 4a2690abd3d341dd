"""A folder that a command writes is whole or absent; what a killed process left does not stand in the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine.files import holds_something, is_unfinished, new_folder


def write_and_end(target: Path, number: int) -> None:
    """Another process writes half of the folder and is ended by a signal."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with new_folder(target) as folder:
            (folder / "half").write_text("half")
            os.write(writer, b"!")
            signal.pause()
    os.read(reader, 1)
    os.kill(child, number)
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_process_left_is_replaced_by_the_next_try(
    tmp_path: Path, number: signal.Signals, exists: bool
) -> None:
    target = tmp_path / "my-model"
    if exists:
        target.mkdir()
    write_and_end(target, number)
    assert target.exists() is exists
    assert not holds_something(target)
    with new_folder(target) as folder:
        (folder / "whole").write_text("whole")
        assert folder.name == target.name
        assert is_unfinished(folder / "whole")
    assert not is_unfinished(target / "whole")
    assert [path.name for path in target.iterdir()] == ["whole"]
    assert [path.name for path in tmp_path.iterdir()] == ["my-model"]


def fail_while_writing(target: Path) -> None:
    with new_folder(target) as folder:
        (folder / "half").write_text("half")
        raise ValueError("no")


def test_nothing_is_left_behind_where_the_writer_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"):
        fail_while_writing(tmp_path / "made" / "deep")
    assert list((tmp_path / "made").iterdir()) == []


def write_while_another_writes(target: Path) -> None:
    with new_folder(target) as first:
        with new_folder(target) as second:
            (second / "whole").write_text("whole")
        assert first.exists()


def test_what_another_process_still_writes_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(OSError, match="not empty"):
        write_while_another_writes(target)
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_the_current_folder_and_links_are_filled_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "disk"):
        (tmp_path / name).mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("disk")
    monkeypatch.chdir(tmp_path / "here")
    for target in (Path("."), tmp_path / "link"):
        with new_folder(target) as folder:
            (folder / "whole").write_text("whole")
    for name in ("here", "disk"):
        assert [path.name for path in (tmp_path / name).iterdir()] == ["whole"]
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "link").is_symlink()
