"""Stages that train a classifier do on replicas what they do on one device."""

import numpy as np
import pytest

from tests.training.tiny import configure, metrics, run, saved_variables


@pytest.mark.slow
def test_replicas_distill_and_fine_tune_as_one_device_does(
    tiny, two_devices, own_collectives, pretrained, tmp_path
):
    for mode in ("finetune", "distill"):
        for strategy in ("one", "mirrored"):
            before = {"init": str(pretrained.folder)}
            if mode == "distill":
                before = {"teacher": str(tmp_path / "finetune-one"), "alpha": 0.5, "labeled_batch_size": 8}
            steps = 2 if strategy == "mirrored" else 1  # the last call of an epoch takes fewer
            settings = {
                "steps_per_execution": steps,
                "strategy": strategy,
                "precision": "float64",
                "augment": "crop,flip,color",
            }
            own_collectives()
            run(configure(mode, tmp_path / f"{mode}-{strategy}", **before, **settings))
        one, two = (metrics(tmp_path / f"{mode}-{strategy}") for strategy in ("one", "mirrored"))
        for name in one[0]:
            found, expected = ([float(row[name] or 0) for row in rows] for rows in (two, one))
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
        one, two = (saved_variables(tmp_path / f"{mode}-{strategy}") for strategy in ("one", "mirrored"))
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
