"""export.py from the command line: what it writes, and the one line where it cannot."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import export
from simclr_keras.config import command_line
from simclr_keras.export.endpoints import OF_CLASSES
from simclr_keras.export.formats import litert, saved_model
from simclr_keras.models import resnet
from simclr_keras.runs.open_run import load_run
from tests.earlier_runs import DIGITS, finetuning, make_run, make_runs

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folder of earlier runs."""
    folder = tmp_path_factory.mktemp("runs")
    make_runs(folder)
    return folder


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """An export of the fine-tuned run, which tests leave alone."""
    out = tmp_path_factory.mktemp("exports") / "digits"
    flags = [f"--run={runs}/finetuned", f"--out={out}", "--decode_images", "--license=CC0-1.0"]
    assert command_line.run(export.main, ["export.py", *flags], "export.py") == 0
    return out


def run(*words):
    return command_line.run(export.main, ["export.py", *map(str, words)], "export.py")


@pytest.mark.slow
class TestExport:
    def test_gives_what_the_run_gives(self, runs, exported):
        images = np.random.default_rng(0).uniform(size=(3, 8, 8, 3)).astype(np.float32)
        found = tf.saved_model.load(str(exported)).signatures["logits"](images=tf.constant(images))["logits"]
        expected = load_run(runs / "finetuned")(images)["logits"]
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())

    def test_the_card_tells_the_run(self, runs, exported):
        card = json.loads((exported / "card.json").read_text())
        told = {
            name: card[name] for name in ("stage", "run", "image_size", "class_names", "license", "model")
        }
        assert told == {
            "stage": "finetune",
            "run": str(runs / "finetuned"),
            "image_size": 8,
            "class_names": list(DIGITS),
            "license": "CC0-1.0",
            "model": "r18_0.125x_sk0",
        }
        assert card["preprocessing"]["antialias"] is False
        assert card["parameters"] == load_run(runs / "finetuned").count_params()
        assert [*card["endpoints"]] == ["encoder", "proj_head_0", "proj_head_1", *OF_CLASSES]
        assert card["endpoints"]["logits"] == {"output": "logits", "shape": [None, 10], "dtype": "float32"}

    def test_best_weights_and_unfinished_runs_are_exported_too(self, runs, tmp_path, capsys):
        assert run(f"--run={runs}/unfinished", f"--out={tmp_path}/a", "--endpoints=encoder") == 0
        card = json.loads((tmp_path / "a/card.json").read_text())
        assert card["results"] is None
        assert card["architecture"] | {"num_classes": None, "kept_head_layers": 0} == card["architecture"]
        assert {*tf.saved_model.load(f"{tmp_path}/a").signatures} == {"encoder", "serving_default"}
        assert "the run was not finished" in (tmp_path / "a/README.md").read_text()

    def test_overwrite_replaces_an_export_as_a_whole(self, runs, exported, tmp_path):
        out = tmp_path / "again"
        shutil.copytree(exported, out)
        (out / "model.onnx").write_text("of the old one")
        assert run(f"--run={runs}/pretrained", f"--out={out}", "--overwrite", "--endpoints=encoder") == 0
        assert json.loads((out / "card.json").read_text())["stage"] == "pretrain"
        assert not (out / "model.onnx").exists()
        assert sorted(tmp_path.iterdir()) == [out]

    def test_nothing_is_left_of_an_export_that_differs_from_the_network(
        self, runs, exported, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setattr(saved_model, "TOLERANCE", -1.0)
        out = tmp_path / "kept"
        shutil.copytree(exported, out)
        before = (out / "card.json").read_bytes()
        assert run(f"--run={runs}/pretrained", f"--out={out}", "--overwrite", "--endpoints=encoder") == 1
        assert "differs from the network's by" in capsys.readouterr().err
        assert (out / "card.json").read_bytes() == before
        assert sorted(tmp_path.iterdir()) == [out]


REFUSED = [
    ("no run", ["--out={tmp}/new"], ["--run is missing", "--model_dir of a training run"]),
    ("no out", ["--run={runs}/finetuned"], ["--out is missing", "a folder to write"]),
    (
        "not there",
        ["--run={tmp}/nothing", "--out={tmp}/new"],
        ["nothing is not a run directory", "--model_dir"],
    ),
    ("no run's folder", ["--run={tmp}", "--out={tmp}/new"], ["is not a run directory"]),
    ("a file", ["--run={runs}/file", "--out={tmp}/new"], ["file is a file", "give a directory"]),
    ("pattern", ["--run={runs}/run[1]", "--out={tmp}/new"], ["contains one of * ? [ ]"]),
    (
        "out is a pattern",
        ["--run={runs}/finetuned", "--out={tmp}/ex [v1]"],
        ["contains one of * ? [ ]", "--out="],
    ),
    ("measured", ["--run={runs}/measured", "--out={tmp}/new"], ["--mode=knn", "--run=runs/pretrained"]),
    ("no checkpoint", ["--run={runs}/without_checkpoint", "--out={tmp}/new"], ["has no checkpoint"]),
    ("cut checkpoint", ["--run={runs}/cut_checkpoint", "--out={tmp}/new"], ["unreadable", "another --run"]),
    (
        "no best",
        ["--run={runs}/pretrained", "--out={tmp}/new", "--checkpoint=best"],
        ["has no best checkpoint"],
    ),
    (
        "no momentum network",
        ["--run={runs}/pretrained", "--out={tmp}/new", "--ema"],
        ["has no momentum network", "leave --ema out", "another --run"],
    ),
    (
        "cut config",
        ["--run={runs}/cut_config", "--out={tmp}/new"],
        ["config.json is damaged", "another --run"],
    ),
    ("cut result", ["--run={runs}/cut_result", "--out={tmp}/new"], ["result.json is damaged"]),
    ("odd model", ["--run={runs}/odd_model", "--out={tmp}/new"], ["model.json is damaged"]),
    (
        "no such endpoint",
        ["--run={runs}/finetuned", "--out={tmp}/new", "--endpoints=encoder,proj_head_2"],
        [
            "finetuned has no endpoint proj_head_2",
            "give one or more of encoder, proj_head_0, proj_head_1, logits",
        ],
    ),
    (
        "no logits",
        ["--run={runs}/unlabeled", "--out={tmp}/new", "--endpoints=logits"],
        ["unlabeled has no endpoint logits", "give one or more of encoder"],
    ),
    (
        "no endpoint",
        ["--run={runs}/finetuned", "--out={tmp}/new", "--endpoints="],
        ["--endpoints is empty; give one or more of"],
    ),
    ("format", ["--run={runs}/finetuned", "--out={tmp}/new", "--format=onyx"], ["--format=onyx", "onnx"]),
    ("int8", ["--run={runs}/finetuned", "--out={tmp}/new", "--int8"], ["--int8 needs --format=litert"]),
    (
        "decoding",
        ["--run={runs}/finetuned", "--out={tmp}/new", "--format=keras", "--decode_images"],
        ["--decode_images needs --format=saved_model"],
    ),
    (
        "remote",
        ["--run={runs}/finetuned", "--out=gs://bucket/x", "--format=keras"],
        ["only saved_model can be written to a remote path"],
    ),
    (
        "int8 without the data",
        ["--run={runs}/of_three_classes", "--out={tmp}/new", "--format=litert", "--int8"],
        ["npz:three.npz", "--int8_data"],
    ),
    ("out is a file", ["--run={runs}/finetuned", "--out={runs}/file"], ["file is a file", "give a folder"]),
    (
        "out holds other things",
        ["--run={runs}/finetuned", "--out={runs}/pretrained", "--overwrite"],
        ["holds other things than an export"],
    ),
    (
        "out is there",
        ["--run={runs}/finetuned", "--out={exported}"],
        ["holds an export already", "--overwrite"],
    ),
    ("out under a file", ["--run={runs}/finetuned", "--out={runs}/file/new"], ["cannot be made", "file/new"]),
    ("unknown flag", ["--runs=x"], ["unknown flag --runs", "--run?"]),
    ("stray word", ["runs/x"], ["unexpected word 'runs/x'"]),
    ("checkpoint", ["--run=x", "--out=y", "--checkpoint=bets"], ["--checkpoint=bets", "best"]),
]


def test_refusals_are_one_line_and_write_nothing(runs, exported, tmp_path, capfd):
    before = sorted(tmp_path.rglob("*")), sorted(runs.rglob("*"))
    offenders = []
    for name, flags, words in REFUSED:
        capfd.readouterr()
        code = run(*(flag.format(tmp=tmp_path, runs=runs, exported=exported) for flag in flags))
        error = capfd.readouterr().err
        as_wanted = code == 2 and error.startswith("export.py: error: ") and error.count("\n") == 1
        if not as_wanted or any(word not in error for word in words):
            offenders.append((name, code, error))
    assert not offenders
    assert (sorted(tmp_path.rglob("*")), sorted(runs.rglob("*"))) == before


@pytest.mark.slow
def test_as_a_program_it_answers_at_once_and_prints_three_lines(tmp_path, monkeypatch):
    monkeypatch.setitem(resnet.BLOCKS, 18, (2, 2, 2, 2))  # what another process knows
    make_run(tmp_path / "run", finetuning("digits", 10), DIGITS)
    program = str(ROOT / "export.py")
    imports = ["-X", "importtime"]
    shown = subprocess.run(
        [sys.executable, *imports, program, "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert all(f"--{name}" in shown.stdout for name in ("run", "out", "endpoints"))
    imported = {line.split("|")[-1].strip() for line in shown.stderr.splitlines()}
    assert "simclr_keras.config.command_line" in imported
    assert not imported & {"tensorflow", "keras", "numpy"}  # seconds of waiting
    done = subprocess.run(
        [sys.executable, program, f"--run={tmp_path}/run", f"--out={tmp_path}/e", "--endpoints=encoder"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_")},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["network", "wrote", "done"]


class TestFormats:
    @pytest.mark.slow
    def test_all_of_them_go_into_one_folder_whose_readme_runs(self, runs, tmp_path, capsys, monkeypatch):
        for limit, value in (("INT8_TOLERANCE", 1), ("LEAST_ABOUT_MEAN", -1), ("SAME_CLASS", 0)):
            monkeypatch.setattr(litert, limit, value)  # the network is untrained, and so are its 8 bits
        out = tmp_path / "all"
        flags = ["--format=saved_model,keras,litert,onnx", "--int8", "--int8_images=20"]
        assert run(f"--run={runs}/finetuned", f"--out={out}", *flags) == 0
        card = json.loads((out / "card.json").read_text())
        names = ["saved_model.pb", "model.keras", "model.tflite", "model_int8.tflite", "model.onnx"]
        assert [file["file"] for file in card["files"]] == names
        assert all(file["difference"] <= file["tolerance"] for file in card["files"])
        assert card["files"][3]["images"] == 20
        assert not [name for name in names if not (out / name).stat().st_size]
        monkeypatch.chdir(tmp_path)
        blocks = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(), re.DOTALL)
        assert len(blocks) == 5
        for block in blocks[:4]:  # the last one prepares a file, see test_preparation
            found = {}
            exec(block, found)
            assert found["logits"].shape == (8, 10)
        lines = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:5] == "wrote"]
        # First those that are refused if the network is too large for one file.
        assert lines == [f"{names[i]}," for i in (3, 2, 4, 0, 1)]

    @pytest.mark.parametrize(
        ("name", "package"), [("litert", "ai_edge_litert.interpreter"), ("onnx", "onnxruntime")]
    )
    def test_a_missing_package_is_said_before_anything_is_done(
        self, name, package, runs, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.setitem(sys.modules, package, None)
        assert run(f"--run={runs}/finetuned", f"--out={tmp_path}/new", f"--format={name}") == 2
        assert f'pip install "simclr_keras[{name}]"' in capsys.readouterr().err
