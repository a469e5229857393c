"""A folder appears as a whole or not at all, and never at the cost of another."""

import os

import pytest
import tensorflow as tf

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.export.folder import check_out, write_text, written_whole


def write(path, text, overwrite=False):
    with written_whole(str(path), overwrite) as folder:
        write_text(f"{folder}/card.json", text)


def test_a_new_one_appears_when_the_block_ends(tmp_path):
    with written_whole(str(tmp_path / "new")) as folder:
        write_text(f"{folder}/card.json", "x")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new/card.json").read_text() == "x"
    assert os.listdir(tmp_path) == ["new"]


def test_folders_above_it_are_made(tmp_path):
    write(tmp_path / "a/b/new", "x")
    assert (tmp_path / "a/b/new/card.json").read_text() == "x"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "new").mkdir()
    write(f"{tmp_path}/new/", "x")
    assert (tmp_path / "new/card.json").read_text() == "x"


@pytest.mark.parametrize("error", [InputError("no"), TrainingError("no"), KeyboardInterrupt()])
def test_when_the_block_fails_nothing_has_changed(tmp_path, error):
    write(tmp_path / "old", "old")
    def fail():
        with written_whole(str(tmp_path / "old"), overwrite=True) as folder:
            write_text(f"{folder}/card.json", "half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert (tmp_path / "old/card.json").read_text() == "old"
    assert os.listdir(tmp_path) == ["old"]


def test_an_old_export_is_replaced_as_a_whole(tmp_path):
    write(tmp_path / "e", "old")
    (tmp_path / "e/more").write_text("old")
    write(tmp_path / "e", "new", overwrite=True)
    assert [file.name for file in (tmp_path / "e").iterdir()] == ["card.json"]
    assert (tmp_path / "e/card.json").read_text() == "new"
    assert os.listdir(tmp_path) == ["e"]


def test_what_an_export_that_was_killed_left_is_no_hindrance(tmp_path):
    (tmp_path / "e.partial").mkdir()
    (tmp_path / "e.partial/half").write_text("")
    write(tmp_path / "e", "new")
    assert [file.name for file in (tmp_path / "e").iterdir()] == ["card.json"]


def test_one_that_was_killed_between_its_renamings_gives_the_old_one_back(tmp_path):
    write(tmp_path / "e", "old")
    (tmp_path / "e").rename(tmp_path / "e.old")
    with pytest.raises(InputError, match="holds an export already"):
        write(tmp_path / "e", "new")
    assert (tmp_path / "e/card.json").read_text() == "old"


def test_a_full_disk_is_one_line_and_the_old_export_stays(tmp_path):
    write(tmp_path / "e", "old")
    full = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    with (
        pytest.raises(TrainingError, match="free space"),
        written_whole(str(tmp_path / "e"), overwrite=True),
    ):
        raise full
    assert (tmp_path / "e/card.json").read_text() == "old"


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
