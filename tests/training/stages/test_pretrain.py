"""Pretraining from end to end: what a run directory holds afterwards, with labels, few labels and none."""

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

import train
from benchmarks.compare_runs import curves, weights
from simclr_keras.config import command_line
from simclr_keras.data.sources.load_dataset import load_dataset
from simclr_keras.errors import InputError, TrainingError
from simclr_keras.evaluation.knn import knn_accuracy
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.stages import pretrain
from tests.data.pictures import flat
from tests.training.tiny import (
    TEST,
    TRAIN,
    checkpointed_steps,
    make_config,
    make_tiny,
    metrics,
    result,
    silent,
    write_npz,
)

STEPS = [6, 11]  # ends of the two epochs of 40 images in batches of 8


def picture(folder, name):
    return tf.io.decode_png((folder / name).read_bytes()).numpy()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One run of a real network, which the tests below look at from all sides.

    An earlier attempt ended before its first checkpoint and left damaged baselines.
    """
    folder = tmp_path_factory.mktemp("pretrain")
    (folder / "run").mkdir()
    (folder / "run" / "baselines.json").write_text("{")
    lines = []
    config = make_config(
        "npz:" + write_npz(folder / "stripes.npz"), folder / "run", baselines=True, keep_checkpoints=1
    )
    returned = pretrain.run(config, say=lines.append)
    return folder / "run", config, returned, lines


@pytest.mark.slow
def test_the_directory_holds_nothing_but_what_it_promises(done):
    folder, *_ = done
    assert checkpointed_steps(folder) == [11]  # --keep_checkpoints=1
    assert sorted(path.name for path in folder.iterdir()) == [
        "baselines.json",
        "checkpoints",
        "config.json",
        "curves.png",
        "metrics.csv",
        "model.json",
        "result.json",
        "run.lock",
        "split.json",
        "tensorboard",
        "views.png",
    ]


def test_config_and_split_are_recorded(done):
    folder, config, *_ = done
    recorded = json.loads((folder / "config.json").read_text())
    # 0 steps_per_execution is resolved to 1 on a CPU.
    resolved = {"steps_per_execution": 1, "eval_antialias": False}
    assert {"mode": "pretrain", **vars(config), **resolved}.items() <= recorded.items()
    split = json.loads((folder / "split.json").read_text())
    assert split["class_names"] == ["rows", "columns", "slanted"]
    assert (split["training_images"], split["evaluation_images"], split["epoch_images"]) == (40, 12, 40)


def test_metrics_csv_has_a_row_per_epoch(done):
    folder, *_ = done
    rows = metrics(folder, without=())
    assert list(rows[0]) == list(pretrain.COLUMNS)
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "6"), ("2", "11")]
    for row in rows:
        values = {name: float(text) for name, text in row.items()}
        assert np.isfinite(list(values.values())).all()
        assert 0 < values["contrastive_loss"] < 2 * np.log(2 * 8 - 1) + 10
        shares = [name for name in values if "accuracy" in name or "top" in name]
        assert all(0 <= values[name] <= 1 for name in shares)
        assert values["knn_top5"] == values["probe_top5"] == 1  # of three classes
        assert values["images_per_second"] > 0


def test_result_json_holds_what_was_promised_and_is_returned(done):
    folder, _, returned, _ = done
    held = result(folder)
    assert held == returned
    last = metrics(folder)[-1]
    assert held["finished"] is True
    assert (held["step"], held["epochs"]) == (11, 2)
    assert (held["training_images"], held["evaluation_images"]) == (TRAIN, TEST)
    names = (
        "contrastive_loss",
        "contrastive_accuracy",
        "knn_top1",
        "probe_top1",
        "probe_top5",
        pretrain.CHANCE,
    )
    for name in (*names, *pretrain.EMBEDDING_FIGURES):
        assert held[name] == float(last[name])
    assert held["images_per_second"] > 0


def test_baselines_stand_beside_the_result(done):
    folder, _, _, lines = done
    held = result(folder)
    before = json.loads((folder / "baselines.json").read_text())
    assert before.items() <= held.items()
    assert held["pretrained_encoder_knn_top1"] == held["knn_top1"]
    assert set(before) == {
        "raw_pixels_knn_top1",
        "random_encoder_knn_top1",
        "random_encoder_logistic_top1",
    }
    words = [line.split()[0] for line in lines if not line.startswith("warning")]  # a few steps teach little
    table = words[words.index("top-1") :]
    assert table[:-1] == ["top-1", "raw", "untrained", "pretrained", "online", "baseline", "top-1"]


def test_pictures_can_be_seen(done):
    folder, *_ = done
    # Eight pairs of 128 pixels, one above the other; the curves in four panels.
    views, shown = picture(folder, "views.png"), picture(folder, "curves.png")
    assert views.shape[0] > 256
    assert views.shape[1] > 8 * 128
    assert min(shown.shape[:2]) > 400
    assert views[..., :3].std() > 20
    assert shown[..., :3].std() > 5


def test_a_run_gives_its_model_back(done):
    folder, _, found, _ = done
    model = load_run(str(folder))
    assert model.dtype_policy.name == "float32"
    data = np.load(folder.parent / "stripes.npz")
    images = np.stack([evaluation_view(image, 8) for image in data["x_test"]])
    endpoints = model(images)
    hits = np.argmax(endpoints["logits"], axis=-1) == data["y_test"]
    assert hits.mean() == pytest.approx(found["probe_top1"])
    features = [model(evaluation_view(data["x_train"], 8))["final_avg_pool"], endpoints["final_avg_pool"]]
    knn = knn_accuracy(features[0], data["y_train"], features[1], data["y_test"], num_classes=3, k=5)
    assert knn.top1 == pytest.approx(found["knn_top1"])


def test_what_is_no_run_gives_no_model(tmp_path):
    with pytest.raises(InputError, match=r"is not a run directory \(it has no config.json\)"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(InputError, match=r"is damaged \(it names no mode\)"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (
            "config.json",
            [
                ({"proj_layers": "3"}, "--proj_layers='3': give a whole number"),
                ({"image_size": None}, "--image_size must have a value"),
                ({"se_ratio": "x"}, "--se_ratio='x': give a number"),
                ({"mode": "pretend"}, "--mode=pretend is unknown"),
                ({"mode": None}, "it names no mode"),
                ({"model": "r51_1x_sk0"}, "r51_1x_sk0"),
            ],
        ),
        (
            "model.json",
            [
                ({"proj_dim": 9}, "is not of the model of this run. Differing: .*projection_head"),
                ({"num_classes": 4}, r"model.json is damaged \(it has 4 classes, the checkpoint 3\)"),
                ({"proj_dim": "8"}, r"model.json is damaged \(proj_dim is '8'"),
                ({"depth": 3}, r"model.json is damaged \(depth is 3"),
            ],
        ),
    ],
)
def test_a_run_that_was_tampered_with_gives_no_model(done, tmp_path, name, changes):
    folder, *_ = done
    shutil.copytree(folder, tmp_path / "run")
    good = json.loads((folder / name).read_text())
    for change, words in changes:
        (tmp_path / "run" / name).write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError, match=words) as refusal:
            load_run(tmp_path / "run")
        assert "\n" not in str(refusal.value)


def test_a_run_from_before_there_was_a_model_json_gives_its_model_back(done, tmp_path):
    folder, *_ = done
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "run" / "model.json").unlink()
    for expected, values in zip(load_run(folder).get_weights(), load_run(tmp_path / "run").get_weights()):
        np.testing.assert_array_equal(values, expected)


def test_a_run_whose_newest_checkpoint_is_damaged_gives_the_one_before(done, tmp_path):
    folder, *_ = done
    shutil.copytree(folder, tmp_path / "run")
    for part in (tmp_path / "run" / "checkpoints").glob("step-11.*"):
        (part.parent / part.name.replace("11", "12")).write_bytes(part.read_bytes()[:50])
    whole = load_run(folder).get_weights()
    with pytest.warns(UserWarning, match=r"step 12 is damaged \(.*taking that of step 11"):
        found = load_run(tmp_path / "run").get_weights()
    for expected, values in zip(whole, found):
        np.testing.assert_array_equal(values, expected)


def test_tensorboard_shows_one_value_an_epoch(done):
    folder, *_ = done
    rows = metrics(folder, without=())
    found = curves(folder)
    assert set(found) == set(pretrain.COLUMNS) - {"epoch", "step"}
    for name, points in found.items():
        assert [step for step, _ in points] == STEPS
        np.testing.assert_allclose(
            [value for _, value in points], [float(row[name]) for row in rows], rtol=1e-6
        )


def test_the_screen_tells_devices_data_steps_epochs_and_where_to_look(done):
    folder, _, _, lines = done
    text = "\n".join(lines)
    assert "1 CPU device, float32" in text
    assert re.search(rf"{TRAIN} training images, 3 classes: \w+, \w+, \w+; {TEST} evaluation images", text)
    assert "11 steps of 8 images, 2 epochs" in text
    assert f"{folder}/views.png" in text
    assert f"{folder}/result.json" in text
    assert [line.split()[1] for line in lines if line.startswith("epoch")] == ["1/2", "2/2"]
    assert all("\n" not in line for line in lines)


@pytest.mark.slow
def test_unlabeled_images_train_without_figures_of_labels(tmp_path, monkeypatch):
    make_tiny(monkeypatch, draw=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i, size in enumerate([(20, 16), (9, 30), (12, 12)] * 4):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        (tmp_path / "photos" / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    folder = tmp_path / "run"
    lines = []
    pretrain.run(make_config(f"folder:{tmp_path}/photos", folder, baselines=True), say=lines.append)
    held = result(folder)
    assert held["contrastive_loss"] > 0
    assert held["training_images"] == load_dataset(f"folder:{tmp_path}/photos").train.num_examples
    assert not [name for name in held if name.startswith(("knn", "probe", "raw", "random", "pretrained"))]
    row = metrics(folder)[-1]
    assert row["contrastive_loss"]
    unmeasured = (*pretrain.SCORES, *pretrain.EMBEDDING_FIGURES, "probe_loss", "probe_accuracy")
    assert {row[name] for name in unmeasured} == {""}
    assert set(curves(folder)) == {
        "learning_rate",
        *pretrain.FIGURES[:3],
        pretrain.CHANCE,
        "skipped_batches",
        "images_per_second",
    }
    assert any("no labels: no kNN, no probe and no baselines" in line for line in lines)
    assert "class_names" not in json.loads((folder / "split.json").read_text())
    assert picture(folder, "views.png").size
    assert picture(folder, "curves.png").size


@pytest.mark.slow
def test_unlabeled_training_images_beside_labeled_evaluation_images_train_without_figures_of_labels(
    tiny, tmp_path
):
    arrays = dict(np.load(write_npz(tmp_path / "all.npz")))
    del arrays["y_train"]
    np.savez(tmp_path / "mixed.npz", **arrays)
    found = pretrain.run(make_config(f"npz:{tmp_path}/mixed.npz", tmp_path / "run"), say=silent)
    assert found["step"] == STEPS[-1]
    assert not [name for name in found if name.startswith(("knn", "probe"))]


@pytest.mark.slow
def test_a_csv_that_labels_evaluation_images_alone(tiny, tmp_path):
    flat(tmp_path / "photos", 20)
    lines = [f"{number}.png,{'ab'[number % 2]},test" for number in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["filename,label,split", *lines]))
    settings = {"labels": str(tmp_path / "labels.csv"), "epochs": 1}
    scores = pretrain.run(make_config(f"folder:{tmp_path}/photos", tmp_path / "run", **settings), say=silent)
    assert scores["training_images"] == 16
    assert "knn_top1" not in scores


@pytest.mark.slow
def test_few_labels_are_all_that_probe_and_knn_see(tiny, data, tmp_path, monkeypatch):
    seen = []
    real = pretrain.RepresentationScore

    def score(extractor, bank, *rest, **settings):
        seen.append(bank)
        return real(extractor, bank, *rest, **settings)

    monkeypatch.setattr(pretrain, "RepresentationScore", score)
    lines = []
    pretrain.run(make_config(data, tmp_path / "run", label_fraction=0.3, epochs=1), say=lines.append)
    assert np.bincount(seen[0].labels).tolist() == [4, 4, 4]
    assert any("(12 labels used)" in line for line in lines)
    assert result(tmp_path / "run")["knn_top1"] >= 0


@pytest.mark.slow
def test_a_run_that_diverges_ends_with_one_line_and_code_1_and_keeps_its_checkpoints(
    tiny, data, tmp_path, monkeypatch, capfd
):
    real = pretrain.ContrastiveLearner.objective

    def diverging(self, batch):
        loss, figures = real(self, batch)
        return loss * tf.where(self.optimizer.iterations < 8, 1.0, np.nan), figures

    monkeypatch.setattr(pretrain.ContrastiveLearner, "objective", diverging)
    flags = {k: v for k, v in vars(make_config(data, tmp_path / "run")).items() if v is not None}
    argv = [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in flags.items()
    ]
    capfd.readouterr()
    code = command_line.run(train.main, ["train.py", "--mode=pretrain", *argv], "train.py")
    error = capfd.readouterr().err
    assert code == 1
    assert error.count("\n") == 1
    assert error.startswith("train.py: error: ")
    assert "contrastive_loss became nan by step 11" in error
    assert "--learning_rate" in error
    assert checkpointed_steps(tmp_path / "run") == [6]
    assert all(np.isfinite(value).all() for value in weights(tmp_path / "run").values())
    assert [row["epoch"] for row in metrics(tmp_path / "run")] == ["1"]
    assert not (tmp_path / "run" / "result.json").exists()
    # The same command begins after the good checkpoint, and meets the same end.
    with pytest.raises(TrainingError, match="by step 11"):
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)


@pytest.mark.slow
def test_a_run_that_met_nan_goes_on_when_told_to_skip_such_batches(tiny, data, tmp_path, monkeypatch):
    real = pretrain.ContrastiveLearner.objective

    def spoiled(self, batch):
        loss, figures = real(self, batch)
        return loss * tf.where(self.optimizer.iterations == 8, np.nan, 1.0), figures

    monkeypatch.setattr(pretrain.ContrastiveLearner, "objective", spoiled)
    with pytest.raises(TrainingError, match="--on_nan=skip_batch skips single bad batches"):
        pretrain.run(make_config(data, tmp_path / "run"), say=silent)
    lines = []
    found = pretrain.run(make_config(data, tmp_path / "run", on_nan="skip_batch"), say=lines.append)
    assert any("continued at step 6" in line for line in lines)
    assert [row["skipped_batches"] for row in metrics(tmp_path / "run")] == ["0", "1"]
    assert any(line.startswith("epoch 2/2") and line.endswith("skipped batches 1") for line in lines)
    assert found["skipped_batches"] == 1
    assert all(np.isfinite(value).all() for value in weights(tmp_path / "run").values())


@pytest.mark.slow
def test_replicas_pretrain_as_one_device_does(tiny, data, two_devices, tmp_path):
    for strategy in ("one", "mirrored"):
        config = make_config(data, tmp_path / strategy, strategy=strategy, precision="float64")
        pretrain.run(config, say=silent)
    assert result(tmp_path / "mirrored")["devices"].startswith("2 CPU devices")
    one, two = (metrics(tmp_path / name) for name in ("one", "mirrored"))
    for name in one[0]:
        found, expected = ([float(row[name]) for row in rows] for rows in (two, one))
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
    found, expected = weights(tmp_path / "mirrored"), weights(tmp_path / "one")
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_training_that_learns_nothing_is_named(monkeypatch, tmp_path):
    make_tiny(monkeypatch)
    np.savez(tmp_path / "black.npz", x_train=np.zeros((40, 12, 12, 3), np.uint8))
    chance, lines = 2 * np.log(2 * 8 - 1), []
    config = make_config(f"npz:{tmp_path}/black.npz", tmp_path / "black")
    done = pretrain.run(config, say=lines.append)
    assert done["problem"] == "loss at chance"
    assert done["contrastive_loss_of_chance"] == pytest.approx(chance)
    warnings = [line for line in lines if line.startswith("warning")]
    assert len(warnings) == 2  # one during training, one at the end
    assert warnings[-1:] == [f"warning  {text}" for text in done["warnings"]]
    assert all(f"that of guessing is {chance:.3f}" in line for line in warnings)
    assert all(f"(guessing {chance:.3f})" in line for line in lines if line.startswith("epoch"))
