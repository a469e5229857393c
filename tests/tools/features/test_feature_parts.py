"""Parts of a feature file: parts on disk count, and those of another command never do."""

import os

import numpy as np
import pytest

from simclr_keras.errors import InputError, TrainingError
from simclr_keras.tools.features import feature_parts
from simclr_keras.tools.features.feature_parts import FeatureParts

SETTINGS = {"model": "abc", "endpoint": "encoder"}
VECTORS = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "f.npz")


def add(parts, begin, end):
    parts.add(VECTORS[begin:end], np.arange(begin, end, dtype=np.int32))


def interrupted(out):
    """Parts of rows 0 to 8 and 8 to 12 on disk."""
    parts = FeatureParts(out, SETTINGS)
    for begin, end in ((0, 8), (8, 12)):
        add(parts, begin, end)
        parts.save()
    return parts


def check_joined(parts, end):
    vectors, labels = parts.join()
    np.testing.assert_array_equal(vectors, VECTORS[:end])
    np.testing.assert_array_equal(labels, np.arange(end))


def test_parts_continue_and_join(out):
    interrupted(out)
    parts = FeatureParts(out, SETTINGS)
    assert parts.rows == 12
    add(parts, 12, 15)
    add(parts, 15, 20)
    parts.save()
    parts.save()
    assert sorted(os.listdir(parts.folder)) == ["000000.npz", "000001.npz", "000002.npz"]
    check_joined(parts, 20)
    parts.remove()
    assert os.listdir(os.path.dirname(out)) == []


def test_a_part_is_written_when_it_has_enough_rows(out, monkeypatch):
    monkeypatch.setattr(feature_parts, "ROWS", 6)
    parts = FeatureParts(out, SETTINGS)
    add(parts, 0, 4)
    assert (parts.rows, FeatureParts(out, SETTINGS).rows) == (0, 0)
    add(parts, 4, 8)
    assert (parts.rows, FeatureParts(out, SETTINGS).rows) == (8, 8)


def test_damaged_parts_are_computed_again(out):
    for damage in (lambda path: os.truncate(path, 50), lambda path: os.truncate(path, 0), os.remove):
        for number, rows in ((0, 0), (1, 8)):
            damage(os.path.join(interrupted(out).folder, f"{number:06}.npz"))
            parts = FeatureParts(out, SETTINGS)
            assert parts.rows == rows
            add(parts, rows, 11)  # of another length than the damaged one
            parts.save()
            check_joined(parts, 11)
            parts.remove()


def test_a_part_that_begins_at_another_row_does_not_count(out):
    parts = interrupted(out)
    os.replace(f"{parts.folder}/000001.npz", f"{parts.folder}/000000.npz")
    assert FeatureParts(out, SETTINGS).rows == 0


def test_parts_with_other_settings_are_refused_or_replaced(out):
    interrupted(out)
    other = {**SETTINGS, "endpoint": "logits"}
    with pytest.raises(InputError, match=r"contains parts of another command \(different: endpoint\)"):
        FeatureParts(out, other)
    assert FeatureParts(out, SETTINGS).rows == 12
    parts = FeatureParts(out, other, overwrite=True)
    assert parts.rows == 0
    add(parts, 0, 5)
    parts.save()
    check_joined(parts, 5)


def test_a_part_that_another_process_replaced_is_refused(out):
    parts = interrupted(out)
    other = FeatureParts(out, {**SETTINGS, "endpoint": "logits"}, overwrite=True)
    add(other, 0, 8)
    other.save()
    with pytest.raises(InputError, match="parts of another command"):
        parts.join()
    other.remove()
    with pytest.raises(TrainingError):
        parts.join()


def test_a_full_disk_is_one_line(out, monkeypatch):
    parts = interrupted(out)
    add(parts, 12, 14)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(TrainingError, match=r"f\.npz\.parts/000002\.npz.*No space left"):
            parts.save()
    assert FeatureParts(out, SETTINGS).rows == 12
