"""Counts with their nouns, parameters in short, durations."""

from simclr_keras.formatting import counted, duration, millions


def test_counted():
    assert [counted(n, "class") for n in (0, 1, 3)] == ["0 classes", "1 class", "3 classes"]
    assert [counted(n, "image") for n in (1, 1200)] == ["1 image", "1,200 images"]
    assert [counted(2, noun) for noun in ("batch", "epoch")] == ["2 batches", "2 epochs"]


def test_millions():
    assert [millions(n) for n in (715_000, 23_561_152)] == ["715 k", "23.6 M"]


def test_duration():
    assert [duration(seconds) for seconds in (48, 59.6, 123)] == ["48 s", "1 min 0 s", "2 min 3 s"]
