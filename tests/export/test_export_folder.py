"""A folder appears as a whole or not at all, and never at the cost of another."""

import errno
import json
import os

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.export.export_folder import FORMAT, check_out, write_text, written_whole


def write(path, text, overwrite=False):
    with written_whole(str(path), overwrite) as folder:
        write_text(f"{folder}/card.json", json.dumps({"format": FORMAT, "text": text}))


def text_in(path):
    return json.loads((path / "card.json").read_text())["text"]


def test_a_new_one_appears_when_the_block_ends(tmp_path):
    with written_whole(str(tmp_path / "new")) as folder:
        write_text(f"{folder}/card.json", '{"text": "x"}')
        assert not (tmp_path / "new").exists()
    assert text_in(tmp_path / "new") == "x"
    assert os.listdir(tmp_path) == ["new"]


def test_folders_above_it_are_made(tmp_path):
    write(tmp_path / "a/b/new", "x")
    assert text_in(tmp_path / "a/b/new") == "x"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "new").mkdir()
    write(f"{tmp_path}/new/", "x")
    assert text_in(tmp_path / "new") == "x"


@pytest.mark.parametrize("error", [InputError("no"), TrainingError("no"), KeyboardInterrupt()])
def test_when_the_block_fails_nothing_has_changed(tmp_path, error):
    write(tmp_path / "old", "old")

    def fail():
        with written_whole(str(tmp_path / "old"), overwrite=True) as folder:
            write_text(f"{folder}/card.json", "half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert text_in(tmp_path / "old") == "old"
    assert os.listdir(tmp_path) == ["old"]


def test_an_old_export_is_replaced_as_a_whole(tmp_path):
    write(tmp_path / "e", "old")
    (tmp_path / "e/model.onnx").write_text("old")
    write(tmp_path / "e", "new", overwrite=True)
    assert [file.name for file in (tmp_path / "e").iterdir()] == ["card.json"]
    assert text_in(tmp_path / "e") == "new"
    assert os.listdir(tmp_path) == ["e"]


def test_folders_beside_it_that_have_like_names_are_left_alone(tmp_path):
    names = [
        "e.old",
        "e.partial",
        ".e.old",
        ".e.old-0123456789abc",
        ".e.partial-backup",
        ".ex.old-0123456789ab",
    ]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis").write_text("mine")
        os.utime(tmp_path / name, (0, 0))
    write(tmp_path / "e", "old")
    write(tmp_path / "e", "new", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == sorted([*names, "e"])
    assert all((tmp_path / name / "thesis").read_text() == "mine" for name in names)


def test_half_an_export_of_a_killed_process_goes_after_a_day(tmp_path):
    fresh, stale = tmp_path / ".e.partial-0123456789ab", tmp_path / ".e.partial-ba9876543210"
    for path in (fresh, stale):
        path.mkdir()
    os.utime(stale, (0, 0))
    write(tmp_path / "e", "new")
    assert (fresh.exists(), stale.exists()) == (True, False)


def test_one_that_was_killed_between_its_renamings_gives_the_old_one_back(tmp_path):
    write(tmp_path / "e", "old")
    (tmp_path / "e").rename(tmp_path / ".e.old-0123456789ab")
    with pytest.raises(InputError, match="holds an export already"):
        write(tmp_path / "e", "new")
    assert text_in(tmp_path / "e") == "old"


def test_of_two_at_once_one_is_written_and_the_other_refused(tmp_path):
    def second():
        with written_whole(str(tmp_path / "e")) as folder:
            write(tmp_path / "e", "first")
            write_text(f"{folder}/card.json", "second")

    with pytest.raises(InputError, match="holds an export already"):
        second()
    assert text_in(tmp_path / "e") == "first"
    assert os.listdir(tmp_path) == ["e"]


def test_of_a_link_the_folder_behind_it_is_replaced(tmp_path):
    write(tmp_path / "v3", "old")
    (tmp_path / "latest").symlink_to("v3")
    write(tmp_path / "latest", "new", overwrite=True)
    assert (tmp_path / "latest").is_symlink()
    assert text_in(tmp_path / "v3") == "new"
    assert sorted(os.listdir(tmp_path)) == ["latest", "v3"]


def test_a_foreign_error_is_one_line_without_false_advice(tmp_path):
    def fail(error):
        with written_whole(str(tmp_path / "e")):
            raise error

    with pytest.raises(TrainingError, match=r"cannot write .*e \(no such thing\)\.$"):
        fail(tf.errors.NotFoundError(None, None, "no such thing"))
    with pytest.raises(TrainingError, match="free space"):
        fail(OSError(errno.ENOSPC, "No space left on device"))


def test_a_full_disk_is_one_line_and_the_old_export_stays(tmp_path):
    write(tmp_path / "e", "old")
    full = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    with (
        pytest.raises(TrainingError, match="free space"),
        written_whole(str(tmp_path / "e"), overwrite=True),
    ):
        raise full
    assert text_in(tmp_path / "e") == "old"


@pytest.mark.parametrize(
    ("make", "overwrite", "words"),
    [
        (lambda path: path.write_text("mine"), True, "is a file; give a folder"),
        (
            lambda path: (path.mkdir(), (path / "mine").write_text("")),
            True,
            "holds other things than an export",
        ),
        (
            lambda path: write(path, "old"),
            False,
            "holds an export already; give another folder, or --overwrite",
        ),
    ],
)
def test_what_is_there_is_kept(tmp_path, make, overwrite, words):
    make(tmp_path / "e")
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(InputError, match=words):
        check_out(str(tmp_path / "e"), overwrite)
    with pytest.raises(InputError, match=words):
        write(tmp_path / "e", "new", overwrite)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
