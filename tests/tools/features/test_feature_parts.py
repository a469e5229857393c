"""Rows on their way: whatever is killed when, those that count are whole, and those of another command never count."""

import os

import numpy as np
import pytest

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.tools.features import feature_parts
from simclr_keras.tools.features.feature_parts import FEATURES, LABELS, STATE, FeatureParts

BINDING = {"model": "abc", "endpoint": "encoder"}
ROWS = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "f.npz")


def add(parts, begin, end):
    parts.add(ROWS[begin:end], np.arange(begin, end, dtype=np.int32))


def test_saved_rows_are_gone_on_with(out):
    parts = FeatureParts(out, BINDING, 3)
    assert parts.rows == 0
    add(parts, 0, 8)
    parts.save()
    parts.close()
    parts = FeatureParts(out, BINDING, 3)
    assert parts.rows == 8
    add(parts, 8, 20)
    parts.save()
    features, labels = parts.read()
    np.testing.assert_array_equal(features, ROWS)
    np.testing.assert_array_equal(labels, np.arange(20))
    parts.remove()
    assert os.listdir(os.path.dirname(out)) == []


def test_rows_that_were_not_saved_do_not_count(out):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    add(parts, 8, 12)
    parts.close()  # writes them, but nothing says that they are whole
    parts = FeatureParts(out, BINDING, 3)
    assert parts.rows == 8
    add(parts, 8, 9)
    parts.save()
    np.testing.assert_array_equal(parts.read()[0], ROWS[:9])


def test_rows_are_saved_by_themselves_now_and_then(out, monkeypatch):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 2)
    assert parts.rows == 0
    monkeypatch.setattr(feature_parts, "SECONDS_BETWEEN_SAVES", 0.0)
    add(parts, 2, 4)
    assert parts.rows == 4


@pytest.mark.parametrize("name", [FEATURES, LABELS])
def test_rows_that_were_lost_after_all_do_not_count(out, name):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    parts.close()
    os.truncate(os.path.join(parts.folder, name), 20)
    assert FeatureParts(out, BINDING, 3).rows == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": -3}', '{"rows": "8"}'])
def test_a_damaged_count_is_no_rows(out, text):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    parts.close()
    with open(os.path.join(parts.folder, STATE), "w") as file:
        file.write(text)
    parts = FeatureParts(out, BINDING, 3)
    assert parts.rows == 0
    add(parts, 0, 5)
    parts.save()
    np.testing.assert_array_equal(parts.read()[0], ROWS[:5])


def test_rows_of_another_command_are_refused_and_stay(out):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    parts.close()
    with pytest.raises(InputError, match=r"holds 8 rows of another command \(differing: endpoint\)"):
        FeatureParts(out, {**BINDING, "endpoint": "logits"}, 3)
    assert FeatureParts(out, BINDING, 3).rows == 8


def test_or_thrown_away_if_that_is_wanted(out):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    parts.close()
    parts = FeatureParts(out, {**BINDING, "endpoint": "logits"}, 3, overwrite=True)
    assert parts.rows == 0
    add(parts, 3, 5)
    parts.save()
    np.testing.assert_array_equal(parts.read()[0], ROWS[3:5])


def test_two_at_once_are_refused(out):
    parts = FeatureParts(out, BINDING, 3)
    with pytest.raises(InputError, match="is being made by another process"):
        FeatureParts(out, BINDING, 3)
    parts.close()
    FeatureParts(out, BINDING, 3).close()


def test_one_that_comes_while_the_folder_is_taken_away_is_refused(out, monkeypatch):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    real, refused = os.remove, []

    def remove(path):
        with pytest.raises(InputError, match="is being made by another process"):
            FeatureParts(out, BINDING, 3)
        refused.append(os.path.basename(path))
        real(path)

    monkeypatch.setattr(os, "remove", remove)
    parts.remove()
    assert sorted(refused) == sorted([FEATURES, LABELS, STATE, "binding.json", "lock"])
    assert refused[-1] == "lock"
    assert os.listdir(os.path.dirname(out)) == []


def test_one_that_comes_when_the_lock_file_has_gone_keeps_its_own(out, monkeypatch):
    first = FeatureParts(out, BINDING, 3)
    add(first, 0, 8)
    first.save()
    real, seconds = os.remove, []

    def remove(path):
        real(path)
        if os.path.basename(path) == "lock" and not seconds:
            seconds.append(FeatureParts(out, BINDING, 3))

    monkeypatch.setattr(os, "remove", remove)
    first.remove()
    (second,) = seconds
    assert second.rows == 0
    add(second, 0, 5)
    second.save()
    np.testing.assert_array_equal(second.read()[0], ROWS[:5])
    with pytest.raises(InputError, match="is being made by another process"):
        FeatureParts(out, BINDING, 3)


def test_the_lock_of_a_folder_that_was_taken_away_meanwhile_is_none(out, monkeypatch):
    first = FeatureParts(out, BINDING, 3)
    add(first, 0, 8)
    first.save()
    real, tries = feature_parts.fcntl.flock, []

    def flock(file, how):
        tries.append(file)
        if len(tries) == 1:  # between its opening and its locking
            first.remove()
        real(file, how)

    monkeypatch.setattr(feature_parts.fcntl, "flock", flock)
    second = FeatureParts(out, BINDING, 3)
    assert len(tries) == 2
    add(second, 0, 5)
    second.save()
    np.testing.assert_array_equal(second.read()[0], ROWS[:5])
    with pytest.raises(InputError, match="is being made by another process"):
        FeatureParts(out, BINDING, 3)


def test_a_folder_that_goes_before_the_lock_file_is_in_it_is_made_again(out, monkeypatch):
    real, made = os.makedirs, []

    def makedirs(path, exist_ok):
        real(path, exist_ok=exist_ok)
        if not made:
            os.rmdir(path)
        made.append(path)

    monkeypatch.setattr(os, "makedirs", makedirs)
    FeatureParts(out, BINDING, 3).close()
    assert len(made) == 2


def test_without_rows_nothing_stays(out):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.close()
    assert os.listdir(os.path.dirname(out)) == []


def test_a_full_disk_is_one_line(out, monkeypatch):
    parts = FeatureParts(out, BINDING, 3)
    add(parts, 0, 8)
    parts.save()
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    add(parts, 8, 9)
    with pytest.raises(TrainingError, match=r"f\.npz\.unfinished cannot be written .*No space left"):
        parts.save()
    monkeypatch.undo()
    parts.close()
    assert FeatureParts(out, BINDING, 3).rows == 8
