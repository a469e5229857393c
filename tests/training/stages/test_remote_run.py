"""Data, run directories and exports on a file system that is not local, as gs:// is: the run of a local disk."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.config.export import ExportConfig
from simclr_keras.export import from_run
from simclr_keras.runs.open_run import load_run
from tests.training.tiny import configure, make_config, run, write_npz

BUCKET = "ram://bucket"
OWN = {"dataset", "images_per_second", "ancestors", "devices"}  # paths, and what no two runs share


def pretrain(dataset, folder):
    """A run of an epoch, and its continuation by another."""
    settings = {"seed": 3, "learning_rate_scaling": "none"}
    return [run(make_config(dataset, f"{folder}/pretrained", epochs=epochs, **settings)) for epochs in (1, 2)]


@pytest.mark.slow
def test_remote_runs_are_local_ones(tiny, tmp_path):
    local = write_npz(tmp_path / "stripes.npz")
    tf.io.gfile.makedirs(BUCKET)
    tf.io.gfile.copy(local, f"{BUCKET}/stripes.npz", overwrite=True)
    theirs = pretrain(f"npz:{local}", str(tmp_path))
    ours = pretrain(f"npz:{BUCKET}/stripes.npz", BUCKET)
    assert any("continued at step 6" in line for line in ours[1].lines)
    for remote, expected in zip(ours, theirs):
        assert {k: v for k, v in remote.result.items() if k not in OWN} == {
            k: v for k, v in expected.result.items() if k not in OWN
        }
    models = [load_run(f"{folder}/pretrained") for folder in (BUCKET, tmp_path)]
    for variable, value in zip(*(model.variables for model in models), strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)

    run(configure("finetune", f"{BUCKET}/finetuned", init=f"{BUCKET}/pretrained"))
    from_run.run(ExportConfig(run=f"{BUCKET}/finetuned", out=f"{BUCKET}/exported"), say=lambda line: None)
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype("float32")
    exported = tf.saved_model.load(f"{BUCKET}/exported")(images)["logits"]
    expected = load_run(f"{BUCKET}/finetuned")(images)["logits"]
    np.testing.assert_allclose(exported, expected, rtol=1e-4, atol=1e-5)
