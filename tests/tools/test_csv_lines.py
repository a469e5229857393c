"""Tables that any name can be read back from."""

import csv
import io

from simclr_keras.tools.csv_lines import CsvLines
from simclr_keras.tools.reporting import text as report_text
from simclr_keras.tools.reporting.rows import Row

TEXTS = ["a\rb", "a\nb", "a\r\nb", "end\r\n", 'a"b', "a,b", "é"]


def test_a_table_holds_any_text():
    file = io.BytesIO()
    csv.writer(CsvLines(file)).writerows([text, "x"] for text in TEXTS)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline=""), strict=True))
    assert rows == [[text, "x"] for text in TEXTS]


def test_its_rows_end_in_one_character():
    file = io.BytesIO()
    csv.writer(CsvLines(file)).writerows([["a", "b"], ["c", "d"]])
    assert file.getvalue() == b"a,b\nc,d\n"


def test_a_report_as_csv_names_its_runs_whatever_they_are_called():
    known = {"dataset": None, "model": None, "parameters": None, "labels_used": None}
    rows = [Row(stage="pretrain", kind="pretrain", run=text, **known) for text in TEXTS]
    table = csv.DictReader(io.StringIO(report_text.as_csv(rows), newline=""), strict=True)
    assert [line["run"] for line in table] == TEXTS
