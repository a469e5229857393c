"""tools.predict: the classes of image files, on the screen and in files."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import preprocess
from simclr_keras.errors import InputError
from simclr_keras.evaluation.metrics import accuracy_interval
from simclr_keras.runs.open_run import load_run
from simclr_keras.tools import predict
from tests.data.pictures import jpeg, png
from tests.tools.models_to_run import SIZE, run

pytestmark = pytest.mark.slow  # together, as each loads or makes networks


@pytest.fixture
def photos(tmp_path):
    """a.png, deep/er/b.jpg, and deep/bad.png, which is none."""
    png(tmp_path / "photos" / "a.png", 1)
    jpeg(tmp_path / "photos" / "deep" / "er" / "b.jpg", 2)
    (tmp_path / "photos" / "deep" / "bad.png").write_text("no image")
    return tmp_path / "photos"


def expected(models, path, antialias=False):
    """Probabilities [10] of an image file by the network of the run."""
    image = preprocess.decode(tf.io.read_file(str(path)))
    view = preprocess.evaluation_view(image, SIZE, antialias=antialias)
    logits = load_run(models / "run")(view[None], training=False)["logits"].numpy()[0].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("name", ["run", "export", "model.keras"])
def test_probabilities_are_the_softmax_of_the_logits(models, photos, tmp_path, name):
    paths = [photos / "a.png", photos / "deep" / "er" / "b.jpg"]
    for path, classes in predict.predict(
        str(models / name), [str(p) for p in paths], top=10, image_size=SIZE
    ):
        shares = expected(models, path)
        assert [name for name, _ in classes] == [str(i) for i in np.argsort(-shares)]
        np.testing.assert_allclose([share for _, share in classes], np.sort(shares)[::-1], rtol=1e-4)
        paths.remove(tmp_path / path)
    assert not paths


def test_images_are_antialiased_if_those_of_the_run_were(models, photos, tmp_path):
    shutil.copytree(models / "run", tmp_path / "run")
    config = tmp_path / "run/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "eval_antialias": True}))
    path = photos / "deep" / "er" / "b.jpg"
    ((_, classes),) = predict.predict(str(tmp_path / "run"), [str(path)], top=10)
    shares, others = (np.sort(expected(models, path, antialias))[::-1] for antialias in (True, False))
    np.testing.assert_allclose([share for _, share in classes], shares, rtol=1e-4)
    assert np.abs(shares - others).max() > 1e-3


def test_a_line_for_each_file_with_the_likeliest_first(models, photos):
    path = photos / "a.png"
    code, said, error = run(predict, f"--model={models}/run", path, "--top=2")
    best = np.argsort(-expected(models, path))[:2]
    shares = [f"{i} {expected(models, path)[i]:.1%}" for i in best]
    assert (code, error, said) == (0, "", f"{path}  {shares[0]}  {shares[1]}\n")


def test_folders_are_searched_and_bad_files_named_and_passed_over(models, photos, tmp_path):
    code, said, error = run(
        predict, f"--model={models}/run", photos, tmp_path / "none.jpg", photos / "a.png", "--top=1"
    )
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == [f"{photos}/a.png", f"{photos}/deep/er/b.jpg"]
    assert error.splitlines() == [
        f"predict: {tmp_path}/none.jpg is missing; skipped",
        f"predict: {photos}/deep/bad.png is not an image of a known format; skipped",
    ]


def test_a_name_with_line_breaks_is_one_line_and_whole_in_the_file(models, photos, tmp_path):
    path = photos / 'a\r\nb\tc  "d", e.png'
    os.rename(photos / "a.png", path)
    for ending in ("csv", "jsonl"):
        code, said, _ = run(predict, f"--model={models}/run", path, "--top=1", f"--out={tmp_path}/p.{ending}")
        assert (code, said.count("\n"), said.count("\r"), said.count("\t")) == (0, 2, 0, 0)
        assert said.startswith(f'{photos}/a b c "d", e.png  ')
    with open(tmp_path / "p.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [str(path)]
    assert json.loads((tmp_path / "p.jsonl").read_text())["file"] == str(path)


def test_a_carriage_return_alone_comes_back_from_csv(models, photos, tmp_path):
    os.rename(photos / "a.png", photos / "a\rb.png")
    assert run(predict, f"--model={models}/run", photos, "--top=1", f"--out={tmp_path}/p.csv")[0] == 0
    with open(tmp_path / "p.csv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file, strict=True)]
    assert names == [f"{photos}/a\rb.png", f"{photos}/deep/er/b.jpg"]


def test_a_usual_name_is_printed_as_it_is():
    name = "my  photo é 写真.jpg"
    assert predict.line(name, [("a  b", 0.5)], 0) == f"{name}  a  b 50.0%"


def test_of_many_bad_files_the_first_are_named_and_all_counted(models, photos):
    for i in range(30):
        (photos / f"bad{i:02}.png").write_text("no image")
    code, said, error = run(predict, f"--model={models}/run", photos, "--top=1")
    lines = error.splitlines()
    assert (code, said.count("\n"), len(lines)) == (0, 2, 11)
    assert [line.split()[1] for line in lines[:10]] == [f"{photos}/bad{i:02}.png" for i in range(10)]
    assert lines[10] == "predict: and 21 more unreadable files, 31 in all; skipped"
    os.remove(photos / "a.png")
    os.remove(photos / "deep" / "er" / "b.jpg")
    code, _, error = run(predict, f"--model={models}/run", photos)
    assert (code, error.count("\n")) == (2, 12)


def test_more_classes_than_there_are_are_all_of_them(models, photos):
    _, said, _ = run(predict, f"--model={models}/run", photos / "a.png", "--top=99")
    assert said.count("%") == 10


def test_csv_and_jsonl_hold_all_digits(models, photos, tmp_path):
    for ending in ("csv", "jsonl"):
        code, said, _ = run(
            predict,
            f"--model={models}/run",
            photos,
            "--top=3",
            f"--out={tmp_path}/p.{ending}",
            "--batch_size=1",
        )
        assert code == 0
        assert said.splitlines()[-1] == f"table    {tmp_path}/p.{ending}"
    with open(tmp_path / "p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [line["file"] for line in lines]
    for row, line in zip(rows, lines):
        told = [(row[f"class_{i}"], float(row[f"probability_{i}"])) for i in (1, 2, 3)]
        assert told == [(found["class"], found["probability"]) for found in line["classes"]]
        shares = expected(models, row["file"])
        np.testing.assert_allclose([p for _, p in told], np.sort(shares)[::-1][:3], rtol=1e-5)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model={models}/run"], "no images: give image files, or folders of images"),
        (["{photos}/a.png"], "--model is missing"),
        (["--model={models}/unlabeled", "{photos}/a.png"], "has no classifier: no endpoint logits"),
        (["--model={models}/none", "{photos}/a.png"], "no such file or directory"),
        (["--model={models}/run", "{photos}/deep/bad.png"], "no readable image"),
        (["--model={models}/run", "{empty}"], "contains no image files"),
        (["--model={models}/run", "{photos}", "--out={photos}/a.png"], "must end in .csv or .jsonl"),
        (["--model={models}/run", "{photos}", "--out={photos}/no/p.csv"], "does not exist; create it"),
        (["--model={models}/run", "{photos}", "--top=0"], "--top=0 is out of range: it must be at least 1"),
        (["--model={models}/export", "{photos}"], "give --image_size"),
    ],
)
def test_what_is_wrong_is_one_line_and_code_2(models, photos, tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    names = {"models": models, "photos": photos, "empty": tmp_path / "empty"}
    code, out, error = run(predict, *(word.format(**names) for word in words))
    assert (code, out) == (2, "")
    assert said in error
    assert error.splitlines()[-1].startswith("predict: error: ")
    assert all(line.endswith("; skipped") for line in error.splitlines()[:-1])


def test_a_reader_that_has_enough_is_no_error(whole_run, photos):
    command = [sys.executable, "-m", "simclr_keras.tools.predict", f"--model={whole_run}", str(photos)]
    quiet = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, "--batch_size=1"], stdout=writing, stderr=subprocess.PIPE, text=True, env=quiet
    )
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_folders_that_name_classes_give_an_accuracy(models, tmp_path):
    path = tmp_path / "photos" / "3" / "a.png"
    png(path, 1)
    best = int(np.argmax(expected(models, path)))
    for number, name in enumerate((best, best, (best + 1) % 10)):
        png(tmp_path / "named" / str(name) / f"{number}.png", 1)
    _, said, _ = run(predict, f"--model={models}/run", tmp_path / "named", "--top=1")
    low, high = accuracy_interval(2, 3)
    assert said.splitlines()[-1] == (
        f"accuracy 66.7% (95 % interval {low:.1%} to {high:.1%}): 2 of 3 images are predicted to be of the class that "
        "their folder names"
    )
    png(tmp_path / "named" / "other.png", 1)
    _, said, _ = run(predict, f"--model={models}/run", tmp_path / "named", "--top=1")
    assert "accuracy" not in said


def test_what_was_predicted_before_a_failure_is_kept(tmp_path, monkeypatch, capsys):
    def fails(*_, **__):
        yield "a.png", [("cat", 0.75)]
        raise InputError("an image became unreadable")

    monkeypatch.setattr(predict, "predict", fails)
    with pytest.raises(InputError):
        predict._execute(predict.PredictConfig(model="m", out=f"{tmp_path}/p.csv"), ["photos"])
    assert "p.partial.csv contains the first 1 prediction" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["p.partial.csv"]
    assert (tmp_path / "p.partial.csv").read_text() == "file,class_1,probability_1\na.png,cat,0.75\n"
