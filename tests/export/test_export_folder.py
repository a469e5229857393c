"""The folder of an export replaces no other files."""

import json

import pytest

from simclr_keras.errors import InputError
from simclr_keras.export.export_folder import FORMAT, check_out
from simclr_keras.files import whole_folder, write_file


def write(path, text, overwrite=False):
    with whole_folder(str(path), lambda path: check_out(path, overwrite)) as folder:
        write_file(f"{folder}/card.json", json.dumps({"format": FORMAT, "text": text}))


def test_an_old_export_is_replaced_as_a_whole(tmp_path):
    write(tmp_path / "e", "old")
    (tmp_path / "e/model.onnx").write_text("old")
    (tmp_path / "e/.DS_Store").write_text("of the system")
    write(tmp_path / "e", "new", overwrite=True)
    assert [file.name for file in (tmp_path / "e").iterdir()] == ["card.json"]
    assert json.loads((tmp_path / "e/card.json").read_text())["text"] == "new"


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


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr("os.path.ismount", lambda path: path == str(tmp_path / "mounted"))
    with pytest.raises(
        InputError, match=r"mounted folder.*; give a folder inside it, such as .*/mounted/export"
    ):
        check_out(f"{tmp_path}/mounted", overwrite=True)
    check_out(f"{tmp_path}/mounted/export", overwrite=True)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match=f"the folder {tmp_path} is not writable"):
        check_out(f"{tmp_path}/new/export", overwrite=False)
