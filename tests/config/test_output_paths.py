"""Paths that a command will write or read are checked before any work."""

import os

import pytest

from simclr_keras.config.output_paths import check_file, check_run_dir
from simclr_keras.errors import InputError


def test_files(tmp_path, monkeypatch):
    (tmp_path / "b.csv").write_text("x")
    (tmp_path / "c.csv").mkdir()
    check_file(str(tmp_path / "a.CSV"), (".csv", ".npz"), overwrite=False)
    check_file(str(tmp_path / "b.csv"), ".csv", overwrite=True)
    for path, overwrite, message in (
        (tmp_path / "b.csv", False, "exists; give another name, or --overwrite"),
        (tmp_path / "a.txt", False, "must end in .csv"),
        (tmp_path / "c.csv", True, "is a folder; give a file"),
        (tmp_path / "no" / "a.csv", False, "does not exist; create it"),
        ("gs://bucket/a.csv", False, "is remote; give a local file"),
    ):
        with pytest.raises(InputError, match=message):
            check_file(str(path), ".csv", overwrite)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write everywhere
    with pytest.raises(InputError, match="is not writable"):
        check_file(str(tmp_path / "a.csv"), ".csv", overwrite=False)


@pytest.mark.slow
def test_run_directories(tmp_path):
    for path in (None, str(tmp_path), "gs://bucket/run"):
        check_run_dir(path, "init", "an earlier stage")
    with pytest.raises(InputError, match=r"^--init=.*/x is not a run directory \(not found\); give"):
        check_run_dir(str(tmp_path / "x"), "init", "an earlier stage")
