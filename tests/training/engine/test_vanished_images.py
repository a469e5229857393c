"""A folder whose files are read as they are needed, while somebody works on it."""

import os
import weakref

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.compare_runs import differing
from simclr_keras.data.files import manifest
from simclr_keras.data.pipeline import train_batches
from simclr_keras.data.sources import folder as folder_module
from simclr_keras.data.sources import load_dataset
from simclr_keras.errors import TrainingError
from simclr_keras.runs.history import History
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.training.engine import data_recovery
from simclr_keras.training.engine.run_data import RunData
from simclr_keras.training.stages import pretrain
from tests.training.tiny import (
    checkpointed_steps,
    make_config,
    metrics,
    result,
    split_of,
    write_npz,
)


@pytest.mark.slow
class TestVanishedImages:
    @pytest.fixture
    def folder(self, tiny, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setattr(folder_module, "_fits", lambda paths, limit: False)
        monkeypatch.setattr(data_recovery, "WAITS", (0, 0, 0))
        # Batches are read ahead while the network computes: here the 5 that cannot be helped, half of an epoch, so that
        # the next one meets the harm however slow the network is.
        monkeypatch.setattr(tf.data, "AUTOTUNE", 1)
        arrays = np.load(write_npz(tmp_path / "stripes.npz"))
        for i, (image, label) in enumerate(zip(arrays["x_train"], arrays["y_train"])):
            path = tmp_path / "photos" / f"class{label}" / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tf.io.encode_png(image).numpy())
        return tmp_path / "photos"

    def run(self, folder, run, monkeypatch, harm=None):
        """Runs with harm() done once epoch 1 is over; returns what was said."""
        lines = []
        config = make_config(f"folder:{folder}", run, epochs=3, batch_size=4, augment="crop")
        with monkeypatch.context() as patch:
            if harm is not None:
                real = History.add

                def add(history, row):
                    real(history, row)
                    if row["epoch"] == 1:
                        harm()

                patch.setattr(History, "add", add)
            pretrain.run(config, say=lines.append)
        return lines

    def test_deleted_file_is_left_out(self, folder, tmp_path, monkeypatch):
        ids = load_dataset.load_dataset(f"folder:{folder}").train.ids
        name = ids[0]
        lines = self.run(folder, tmp_path / "run", monkeypatch, (folder / name).unlink)
        assert any("cannot read a batch" in line and "No such file" in line for line in lines)
        assert any(f"1 of the 40 original images of the run are missing: {name}" in line for line in lines)
        assert [row["epoch"] for row in metrics(tmp_path / "run")] == ["1", "2", "3"]
        # As many steps as with the image: 3 epochs in batches of 4.
        assert result(tmp_path / "run")["step"] == 3 * split_of(tmp_path / "run")["epoch_images"] // 4 + 1
        assert result(tmp_path / "run")["missing_images"] == 1
        # The same command again, after a kill say, finds its way too.
        (tmp_path / "run" / "result.json").unlink()
        self.run(folder, tmp_path / "run", monkeypatch)
        # The queue of a momentum network knows the images by the rows that they had with it.
        data = RunData(make_config(f"folder:{folder}", tmp_path / "run"), RunDir(tmp_path / "run"), {})
        data.load()
        assert data.splits.train.ids == tuple(ids[1:])
        assert data.splits.train.numbers.tolist() == list(range(1, len(ids)))
        (batch,) = train_batches(
            data.splits.train, image_size=8, batch_size=len(ids) - 1, seed=0, first_step=0, num_steps=1
        )
        assert sorted(batch["id"].numpy()) == list(range(1, len(ids)))

    def test_overwritten_file_is_named_at_the_end(self, folder, tmp_path, monkeypatch):
        def harm():
            for path in sorted(folder.rglob("*.png"))[:1]:
                path.write_bytes(b"nonsense")

        lines = self.run(folder, tmp_path / "run", monkeypatch, harm)
        assert any(line.startswith("left out 1 unreadable image: class0/00.png (") for line in lines)
        assert result(tmp_path / "run")["unreadable_images"] == 1

    def test_rotten_file_of_the_same_size_and_time_is_found(self, folder, tmp_path, monkeypatch):
        def harm():
            path = min(folder.rglob("*.png"))
            before = path.stat()
            path.write_bytes(bytes(before.st_size))
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        # As a disk does it, which changes no time at all.
        monkeypatch.setattr(manifest, "_local_stamp", lambda path: (7, 7, 7))
        self.run(folder, tmp_path / "run", monkeypatch, harm)
        assert result(tmp_path / "run")["unreadable_images"] == 1

    def test_drive_that_comes_back_leaves_no_trace(self, folder, tmp_path, monkeypatch):
        self.run(folder, tmp_path / "whole", monkeypatch)
        hidden = folder.with_name("hidden")
        real_open, real_make, learners = load_dataset.open_dataset, pretrain.make_learner, []

        def open_dataset(*arguments, **settings):
            if hidden.exists():
                hidden.rename(folder)
            return real_open(*arguments, **settings)

        def make_learner(*arguments):
            # There may be no room for two.
            assert all(learner() is None for learner in learners)
            learner, schedule = real_make(*arguments)
            learners.append(weakref.ref(learner))
            return learner, schedule

        monkeypatch.setattr(load_dataset, "open_dataset", open_dataset)
        monkeypatch.setattr(pretrain, "make_learner", make_learner)
        lines = self.run(folder, tmp_path / "run", monkeypatch, lambda: folder.rename(hidden))
        assert any("cannot read a batch" in line for line in lines)
        assert len(learners) == 2
        assert not differing(tmp_path / "run", tmp_path / "whole")

    def test_drive_that_stays_away_is_one_line(self, folder, tmp_path, monkeypatch):
        with pytest.raises(TrainingError, match=r"cannot read a batch, 4 times after step \d+ \(.*no folder"):
            self.run(folder, tmp_path / "run", monkeypatch, lambda: folder.rename(folder.with_name("gone")))
        assert checkpointed_steps(tmp_path / "run") == [int(metrics(tmp_path / "run")[-1]["step"])]
