"""Files are whole or not there; one writer at a time, who leaves nothing behind when they die."""

import subprocess
import sys
import threading

import pytest

from moderation import files
from moderation.errors import BundleBusy
from moderation.files import append_line, remove_folder, turn, write_file, write_folder


def test_a_folder_is_there_with_all_its_files_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "new" / "folder"

    def fail(_folder):
        raise OSError("the disk is full")

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(OSError, match="full"):
        write_folder(path, {"a": b"1", "b": b"2"})
    assert list(path.parent.iterdir()) == []
    monkeypatch.undo()
    write_folder(path, {"a": b"1", "b": b"2"})
    write_folder(path, {"a": b"other"})
    assert {each.name: each.read_bytes() for each in path.iterdir()} == {"a": b"1", "b": b"2"}
    assert path.stat().st_mode & 0o777 == 0o755
    remove_folder(path)
    assert list(path.parent.iterdir()) == []


def test_a_file_is_replaced_and_nothing_stays_aside(tmp_path):
    path = tmp_path / "current"
    for content in (b"one\n", b"two\n"):
        write_file(path, content)
        assert path.read_bytes() == content
    assert [each.name for each in tmp_path.iterdir()] == ["current"]


@pytest.mark.parametrize(
    ("before", "after"), [(None, b"new\n"), (b"", b"new\n"), (b"old\n", b"old\nnew\n"), (b"hal", b"hal\nnew\n")]
)
def test_half_a_line_stays_alone(tmp_path, before, after):
    path = tmp_path / "history"
    if before is not None:
        path.write_bytes(before)
    append_line(path, "new")
    assert path.read_bytes() == after


def test_one_writer_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WAIT_SECONDS", 0.1)
    order = []

    def write() -> None:
        with turn(tmp_path):
            order.append("second")

    with turn(tmp_path):
        with pytest.raises(BundleBusy, match="another process"), turn(tmp_path):
            order.append("between")
        monkeypatch.setattr(files, "_WAIT_SECONDS", 30)
        thread = threading.Thread(target=write)
        thread.start()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_whoever_is_killed_has_had_their_turn(tmp_path, monkeypatch):
    code = (
        "import os, sys, pathlib\nfrom moderation.files import turn\n"
        "with turn(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "held\n")
    monkeypatch.setattr(files, "_WAIT_SECONDS", 0)
    with turn(tmp_path):
        pass
