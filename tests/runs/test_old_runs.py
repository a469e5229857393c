"""Run directories of an older version resume, evaluate, export and hand down their splits; see old_runs/README.md."""

import json
import pathlib
import tarfile

import numpy as np
import pytest

import export
import train
from benchmarks.compare_runs import TIMED, metrics, weights
from simclr_keras.preprocess import evaluation_view
from simclr_keras.runs.open_run import load_run
from simclr_keras.training.engine import loop
from simclr_keras.training.stages import classification

ARCHIVE = pathlib.Path(__file__).parent / "old_runs" / "old_runs.tar.xz"
PLACE = "/home/user/images.npz"  # of the data, in the archive
TINY = ["--precision=float32", "--keep_checkpoints=1", "--batch_size=8", "--epochs=2", "--warmup_epochs=0"]
NETWORK = ["--dataset=npz:images.npz", "--model=r18_0.02x_sk0", "--image_size=8", *TINY]
HEAD = ["--proj_dim=8", "--proj_layers=2"]
LABELED = ["--distill_on=labeled", "--labeled_batch_size=4"]
# The commands of old_runs/README.md, with the flags' names of today.
COMMANDS = {
    "pretrain": ["--mode=pretrain", *NETWORK, *HEAD, "--eval_fraction=0.25", "--seed=3"],
    "finetune": [
        "--mode=finetune",
        "--init=runs/pretrain",
        "--head_layer=1",
        "--labels_per_class=6",
        "--seed=4",
    ],
    "supervised": ["--mode=supervised", *NETWORK, "--labels_per_class=8", "--seed=5"],
    "distill": ["--mode=distill", "--teacher=runs/finetune", "--alpha=0.5", *LABELED, "--seed=6"],
    "linear_eval": ["--mode=linear_eval", "--protocol=paper", "--init=runs/pretrain", "--seed=7"],
}


# Figures that metrics.csv has since.
ADDED_FIGURES = {
    *("balanced_accuracy", "loss_of_chance", "contrastive_loss_of_chance"),
    *("alignment", "uniformity", "effective_rank"),
}


@pytest.fixture(scope="module")
def old_runs(tmp_path_factory):
    """The folder with runs/, interrupted/ and images.npz; tests write beside the finished runs, never into them."""
    folder = tmp_path_factory.mktemp("old_runs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    for config in folder.glob("*/*/config.json"):  # as if the runs had been made here
        config.write_text(config.read_text().replace(PLACE, str(folder / "images.npz")))
    return folder


@pytest.fixture(autouse=True)
def _inside(old_runs, monkeypatch):
    monkeypatch.chdir(old_runs)


def run(model_dir, *flags):
    """Run train.py in this process; return result.json."""
    train.main(["train.py", *dict.fromkeys([*flags, *TINY]), f"--model_dir={model_dir}"])
    return read(f"{model_dir}/result.json")


def measure(mode, name):
    flags = [f"--mode={mode}", f"--init=runs/{name}", f"--model_dir={mode}/{name}", "--precision=float32"]
    train.main(["train.py", *flags])
    return read(f"{mode}/{name}/result.json")


def read(path):
    return json.loads(pathlib.Path(path).read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_resume(name, monkeypatch):
    monkeypatch.setattr(classification, "SHORT_RUN", 0)  # earlier versions ended with moving averages
    run(f"interrupted/{name}", *COMMANDS[name])
    resumed, old = metrics(f"interrupted/{name}"), metrics(f"runs/{name}")
    assert resumed.keys() - ADDED_FIGURES == old.keys()
    for column in old.keys() - set(TIMED):
        for value, old_value in zip(resumed[column], old[column], strict=True):
            assert value == pytest.approx(old_value, rel=1e-4), column
    resumed, old = weights(f"interrupted/{name}"), weights(f"runs/{name}")
    assert resumed.keys() == old.keys()
    for variable, value in old.items():
        np.testing.assert_allclose(resumed[variable], value, rtol=1e-4, atol=1e-4, err_msg=variable)


def test_finished_runs_are_not_repeated(capsys):
    for name, flags in COMMANDS.items():
        result = pathlib.Path(f"runs/{name}/result.json").read_bytes()
        run(f"runs/{name}", *flags)
        assert "finished" in capsys.readouterr().out
        assert pathlib.Path(f"runs/{name}/result.json").read_bytes() == result


@pytest.mark.slow
def test_evaluate():
    for name in COMMANDS:
        result = read(f"runs/{name}/result.json")
        top1 = result["probe_top1" if name == "pretrain" else "top1"]
        assert measure("eval", name)["top1"] == pytest.approx(top1), name


@pytest.mark.slow
def test_knn():
    assert measure("knn", "pretrain")["top1"] == pytest.approx(read("runs/pretrain/result.json")["knn_top1"])


def test_load_run():
    images = evaluation_view(np.load("images.npz")["x_train"], 8)
    for name in COMMANDS:
        outputs = load_run(f"runs/{name}")(images, training=False)
        assert outputs["logits"].shape == (60, 3)
        assert np.isfinite(outputs["final_avg_pool"]).all()


@pytest.mark.slow
def test_export():
    export.main(["export.py", "--run=runs/finetune", "--out=exported"])
    assert pathlib.Path("exported/saved_model.pb").exists()


@pytest.mark.slow
def test_later_stages_hold_out_the_same_images(monkeypatch):
    def stop_here(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stop_here)
    for name, ancestor in (("finetune", "pretrain"), ("distill", "finetune")):
        with pytest.raises(KeyboardInterrupt):
            run(f"new/{name}", *COMMANDS[name])
        split, old = read(f"new/{name}/split.json"), read(f"runs/{ancestor}/split.json")
        assert len(split["held_out"]) == 15
        assert split["held_out"] == old["held_out"]
    assert split["labeled"] == old["labelled"]  # of the distillation, from its teacher
    assert len(split["labeled"]) == 18
