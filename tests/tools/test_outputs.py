"""Files that a command writes: whole or not at all, and tables that any name can be read back from."""

import csv
import io
import os

import pytest

from simclr_keras.errors import TrainingError
from simclr_keras.tools import outputs
from simclr_keras.tools.reporting import text as report_text
from simclr_keras.tools.reporting.rows import Row

TEXTS = ["a\rb", "a\nb", "a\r\nb", "end\r\n", 'a"b', "a,b", "é"]


def test_a_table_holds_any_text():
    file = io.BytesIO()
    csv.writer(outputs.CsvLines(file)).writerows([text, "x"] for text in TEXTS)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline=""), strict=True))
    assert rows == [[text, "x"] for text in TEXTS]


def test_its_rows_end_in_one_character():
    file = io.BytesIO()
    csv.writer(outputs.CsvLines(file)).writerows([["a", "b"], ["c", "d"]])
    assert file.getvalue() == b"a,b\nc,d\n"


def test_what_fails_half_way_leaves_the_old_file(tmp_path):
    outputs.replace_bytes(tmp_path / "f", b"old")

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingError, match=r"f cannot be written .*No space left"):
        outputs.replace(tmp_path / "f", fail)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_a_report_as_csv_names_its_runs_whatever_they_are_called():
    known = {"dataset": None, "model": None, "parameters": None, "labels_used": None}
    rows = [Row(stage="pretrain", kind="pretrain", run=text, **known) for text in TEXTS]
    table = csv.DictReader(io.StringIO(report_text.as_csv(rows), newline=""), strict=True)
    assert [line["run"] for line in table] == TEXTS
