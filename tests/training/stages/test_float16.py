"""A run in float16: its loss scale in metrics.csv and in checkpoints, and what reads its weights."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.compare_runs import differing
from simclr_keras.objectives.loss_scale import INITIAL
from simclr_keras.runs.checkpoints import Checkpoints
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.stages import pretrain
from tests.training.killing import kill
from tests.training.tiny import configure, make_config, metrics, run

OVERFLOWS = (1, 8)  # the steps


class Overflowing(pretrain.ContrastiveLearner):
    """Its loss is infinite in some steps."""

    def loss_of(self, outputs, batch, training=True):
        loss, figures = super().loss_of(outputs, batch, training)
        step = tf.cast(self.optimizer.iterations, tf.int32)
        return tf.where(tf.reduce_any(step == OVERFLOWS), np.inf, loss), figures


@pytest.mark.slow
def test_float16_run_shows_and_resumes_its_loss_scale_and_serves_later_stages(
    tiny, data, tmp_path, monkeypatch
):
    monkeypatch.setattr(pretrain, "ContrastiveLearner", Overflowing)
    settings = {"precision": "float16", "checkpoint_every_steps": 3}
    whole = run(make_config(data, tmp_path / "whole", **settings))
    assert any(
        line.endswith("1 CPU device, float16 (strategy one: no TPU, no other host, no GPU)")
        for line in whole.lines
    )
    assert whole.result["precision"] == "float16"
    rows = metrics(whole.folder)
    # Other steps may overflow as well, until the scale fits.
    overflows = [int(row["overflow_steps"]) for row in rows]
    assert 1 <= overflows[0] < overflows[1] < 15
    assert [float(row["loss_scale"]) for row in rows] == [INITIAL / 2**count for count in overflows]
    assert [row["skipped_batches"] for row in rows] == ["0", "0"]
    assert all(float(row["contrastive_loss"]) > 0 for row in rows)
    config = make_config(data, tmp_path / "killed", **settings)
    kill(config, monkeypatch, Checkpoints, "save", 4)
    run(config)
    assert not differing(tmp_path / "killed", whole.folder)
    # On a machine without float16, its weights are float32 like those of any run.
    model = load_run(str(whole.folder))
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert model.compute_dtype == "float32"
    finetuned = run(configure("finetune", tmp_path / "finetuned", init=str(whole.folder)))
    assert finetuned.result["precision"] == "float32"
    assert "loss_scale" not in metrics(finetuned.folder)[0]
