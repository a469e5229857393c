"""Files and folders are replaced as a whole: a reader sees the old or the new one, on any file system."""

import errno
import os
import stat

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.files import read_file, remove_leftovers, whole_folder, write_file
from tests.as_windows import link


@pytest.fixture(params=["local", "remote"])
def folder(request, tmp_path):
    """A folder on the disk, and one of a file system that Python's open knows nothing of."""
    path = str(tmp_path / "folder") if request.param == "local" else f"ram://{tmp_path.name}/folder"
    tf.io.gfile.makedirs(path)
    return path


def names(folder):
    return sorted(tf.io.gfile.listdir(folder))


def test_file_is_written_and_replaced(folder):
    for content in ("text é", b"bytes", lambda file: file.write(b"by a function")):
        write_file(f"{folder}/a", content)
    assert read_file(f"{folder}/a") == b"by a function"
    assert read_file(f"{folder}/b") is None
    assert names(folder) == ["a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_file_stays_if_the_writer_fails(folder, error):
    write_file(f"{folder}/a", b"old")

    def fail(file):
        file.write(b"half")
        raise error

    words = r"cannot write .*a \(.*No space left on device\); free space"
    expected = (KeyboardInterrupt, None) if isinstance(error, KeyboardInterrupt) else (TrainingError, words)
    with pytest.raises(expected[0], match=expected[1]):
        write_file(f"{folder}/a", fail)
    assert read_file(f"{folder}/a") == b"old"
    assert names(folder) == ["a"]


def test_file_in_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(TrainingError, match=r"cannot write .*No such file"):
        write_file(f"{tmp_path}/none/a", b"")


def test_half_a_file_of_a_killed_process_is_removed(tmp_path):
    for name in (".result.json.tmp-0123456789ab", "result.json", ".hidden"):
        (tmp_path / name).write_text("{}")
    remove_leftovers(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "result.json"]


def test_rights_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_file(f"{tmp_path}/a", b"")
    finally:
        os.umask(before)
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o640


def check(path):
    """Refuses a folder that contains anything but a file `text`."""
    if os.path.exists(path) and set(os.listdir(path)) - {"text"}:
        raise InputError("contains other things")


def write(path, text, check=check):
    with whole_folder(str(path), check) as folder:
        write_file(f"{folder}/text", text)


def text_in(path):
    return (path / "text").read_text()


def test_folder_appears_when_the_block_ends(tmp_path):
    with whole_folder(str(tmp_path / "a/b/new"), check) as folder:
        write_file(f"{folder}/text", "x")
        assert not (tmp_path / "a/b/new").exists()
    assert text_in(tmp_path / "a/b/new") == "x"
    assert os.listdir(tmp_path / "a/b") == ["new"]


def test_folder_is_replaced_as_a_whole(tmp_path):
    (tmp_path / "e").mkdir()
    for text in ("old", "new"):
        write(f"{tmp_path}/e/", text)
    assert text_in(tmp_path / "e") == "new"
    assert os.listdir(tmp_path) == ["e"]


def test_remote_folder_is_replaced_with_what_is_in_it(tmp_path):
    parent = f"ram://{tmp_path.name}"
    for name in ("old", "new"):
        with whole_folder(f"{parent}/e", lambda path: None) as folder:
            tf.io.gfile.makedirs(f"{folder}/inner/most")
            for place in ("", "/inner/most"):
                write_file(f"{folder}{place}/{name}", name)
    for place in ("", "/inner/most"):
        assert read_file(f"{parent}/e{place}/new") == b"new"
        assert read_file(f"{parent}/e{place}/old") is None
    assert names(parent) == ["e"]


@pytest.mark.parametrize("error", [InputError("no"), TrainingError("no"), KeyboardInterrupt()])
def test_folder_stays_if_the_block_fails(tmp_path, error):
    write(tmp_path / "old", "old")

    def fail():
        with whole_folder(str(tmp_path / "old"), check) as folder:
            write_file(f"{folder}/text", "half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert text_in(tmp_path / "old") == "old"
    assert os.listdir(tmp_path) == ["old"]


def test_folders_with_similar_names_stay(tmp_path):
    others = ["e.old", "e.partial", ".e.old", ".e.old-0123456789abc", ".e.partial-backup"]
    others.append(".ex.old-0123456789ab")
    for name in others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    for text in ("old", "new"):
        write(tmp_path / "e", text)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "e"])
    assert all((tmp_path / name / "thesis").read_text() == "mine" for name in others)


def test_half_a_folder_of_a_killed_process_goes_after_a_day(tmp_path):
    fresh, stale = tmp_path / ".e.partial-0123456789ab", tmp_path / ".e.partial-ba9876543210"
    for path in (fresh, stale):
        path.mkdir()
    os.utime(stale, (0, 0))
    write(tmp_path / "e", "new")
    assert (fresh.exists(), stale.exists()) == (True, False)


def refuse(path):
    if os.path.exists(path):
        raise InputError("exists already")


def test_old_folder_returns_after_a_kill_between_the_renamings(tmp_path):
    write(tmp_path / "e", "old")
    (tmp_path / "e").rename(tmp_path / ".e.old-0123456789ab")
    with pytest.raises(InputError, match="exists already"):
        write(tmp_path / "e", "new", refuse)
    assert text_in(tmp_path / "e") == "old"


def test_one_of_two_writers_at_once_is_refused(tmp_path):
    def second():
        with whole_folder(str(tmp_path / "e"), refuse) as folder:
            write(tmp_path / "e", "first")
            write_file(f"{folder}/text", "second")

    with pytest.raises(InputError, match="exists already"):
        second()
    assert text_in(tmp_path / "e") == "first"
    assert os.listdir(tmp_path) == ["e"]


def test_folder_behind_a_link_is_replaced(tmp_path):
    write(tmp_path / "v3", "old")
    link(tmp_path / "latest", "v3")
    write(tmp_path / "latest", "new")
    assert (tmp_path / "latest").is_symlink()
    assert text_in(tmp_path / "v3") == "new"
    assert sorted(os.listdir(tmp_path)) == ["latest", "v3"]


def test_error_in_a_folder_is_one_line_with_advice_only_if_it_helps(tmp_path):
    write(tmp_path / "e", "old")

    def fail(error):
        with whole_folder(str(tmp_path / "e"), check):
            raise error

    with pytest.raises(TrainingError, match=r"cannot write .*e \(no such thing\)\.$"):
        fail(tf.errors.NotFoundError(None, None, "no such thing"))
    for full in (
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "No space left on device"),
    ):
        with pytest.raises(TrainingError, match="free space"):
            fail(full)
    assert text_in(tmp_path / "e") == "old"


def test_a_file_system_that_does_not_flush_folders_is_no_obstacle(tmp_path, monkeypatch):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(error, "refused")

    monkeypatch.setattr(os, "fsync", fsync)
    for error in (errno.EACCES, errno.EINVAL):
        write_file(f"{tmp_path}/a", b"")
        write(tmp_path / f"e{error}", "new")
    error = errno.EIO  # the disk fails
    with pytest.raises(TrainingError, match="cannot write"):
        write_file(f"{tmp_path}/a", b"")
