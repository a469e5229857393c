"""Every benchmark runs with --quick; its figures are not tested."""

import contextlib
import dataclasses
import functools
import importlib
import io
import json
import pathlib
import re

import pytest

import train
from benchmarks.studies import (
    cifar10_method,
    continued_photos,
    continued_pretraining,
    distill_photos,
    memory_cifar10,
)
from tests.training.tiny import create_tiny_model, make_tiny, write_npz

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
# A few words that each benchmark must print, in this order.
OUTPUT = {
    "backbone_parity": r"keras:MobileNet +differs by .*\n0 networks differ",
    "cifar10_method": r"pretrain, knn.*finetune-1pct-layer1.*fine-tuning beats supervised",
    "collectives": r"8 \| total \| \d\d .*collectives / least.*\| 8 \| 1\.0\d+ \| 1\.0\d+ ",
    "continued_photos": r"none \| color histogram \|.*as it is \| network \|.*continued \| network \+ roots \|",
    "continued_pretraining": r"classes 0-4 \| kNN.*continued \| linear.*random weights \| linear",
    "distill_photos": r"teacher \| r18.*distilled \| r18.*labels alone \| r18",
    "fit_photos": r"nothing \| colors1-8 .*seed 0: colors.* other photos\n.*on other photos.*color histogram \|",
    "evaluation_resize": r"8 \| color histogram \| .* \| \+0\.0 .*8 \| network \+ roots \| ",
    "kill_and_resume": r"pretrain: 1 of 1 runs",
    "memory_cifar10": r"pretrain.*none \|.*queue-4096 \|.*queue-4096-ema \|",
    "moving_statistics": r"\| 2 \| momentum 0.9 \|.*\| 2 \| recalibrated \|.*\| 2 \| frozen \|",
    "near_duplicates": r"100 labeled .* of two classes .*\n\| 0\.9 \| ",
    "resume_at_scale": r"streamed from 4 files.*arrays in memory",
    "split_by_content": r"stratified +by content.*long tail.*hash",
    "teacher_sharpness": r"labeled +20 images.*others +20 images",
    "two_hosts": r"one process: .*path of replicas: .*two processes: .*ratio of medians",
}
SLOW = (
    "cifar10_method",
    "continued_pretraining",
    "kill_and_resume",
    "memory_cifar10",
    "moving_statistics",
)
PARTS = {"command_line", "compare_runs", "run"}  # what the benchmarks share


def scripts():
    """Return {name: module name} of all scripts."""
    paths = [path for path in FOLDER.glob("*.py") if path.stem not in PARTS]
    names = {path.stem: f"benchmarks.{path.stem}" for path in paths}
    return names | {path.stem: f"benchmarks.studies.{path.stem}" for path in FOLDER.glob("studies/*.py")}


def test_every_benchmark_is_tested_and_documented():
    assert set(scripts()) == set(OUTPUT)
    readme = (FOLDER / "README.md").read_text()
    assert not [name for name in OUTPUT if f"`{name}.py`" not in readme]


def run_here(words):
    return train.main(["train.py", *words])


def run_once():
    """Stand in for the runs of several ways of train.py: the first one runs here, the others copy its result."""
    results = []

    def run(way, flags):
        (folder,) = (flag.partition("=")[2] for flag in flags if flag.startswith("--model_dir="))
        if results:
            pathlib.Path(folder, "result.json").write_text(results[0])
        else:
            run_here(flags)
            results.append(pathlib.Path(folder, "result.json").read_text())

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in OUTPUT]
)
def test_quick(name, tmp_path, monkeypatch, capsys, request):
    benchmark = importlib.import_module(scripts()[name])
    flags = ["--quick"]
    if name != "collectives":  # it counts those of a ResNet
        make_tiny(monkeypatch)
    if name in (
        "cifar10_method",
        "continued_photos",
        "continued_pretraining",
        "distill_photos",
        "fit_photos",
        "memory_cifar10",
    ):
        flags += [f"--runs={tmp_path}/runs"]
        flags += [f"--table={tmp_path}/table.md"] if name == "cifar10_method" else []
        # In this process: several starts of TensorFlow take longer than the runs.
        monkeypatch.setattr(cifar10_method, "run_train", run_here)
    if name == "kill_and_resume":  # one process, which is killed when it writes its second checkpoint
        flags += ["--seed=7"]
        request.getfixturevalue("rewritten_graphs")  # as in that process
        network = [f"--dataset=npz:{write_npz(tmp_path / 'stripes.npz')}", *benchmark.NETWORK[1:]]
        pretraining = [*network, *benchmark.COMMON, "--batch_size=8"]
        monkeypatch.setitem(benchmark.STAGES, "pretrain", pretraining)
        monkeypatch.setattr(benchmark, "PROGRAM", ["-m", "tests.training.tiny_train"])
        monkeypatch.setattr(benchmark, "run_to_the_end", lambda flags, what: run_here(flags))
    if name == "moving_statistics":
        monkeypatch.setattr(benchmark, "create_model", functools.partial(create_tiny_model, dtype="float32"))
    if name == "two_hosts":  # two real processes train in tests/training/hosts
        monkeypatch.setattr(benchmark, "run_hosts", run_once())
    assert not benchmark.main(flags)
    output = capsys.readouterr().out
    assert re.search(OUTPUT[name], output, re.DOTALL), output
    if f"--runs={tmp_path}/runs" in flags:  # finished runs are not repeated
        monkeypatch.setattr(cifar10_method, "run_train", lambda words: pytest.fail(" ".join(words)))
        assert not benchmark.main(flags)


def test_finished_runs_of_other_settings_are_not_taken(tmp_path, monkeypatch):
    words = ["--mode=pretrain", "--dataset=digits", "--batch_size=64", f"--model_dir={tmp_path}"]
    config = dataclasses.asdict(train.read_flags(["train.py", *words]))
    # As a run records them: settings that were left open, and one that may change.
    config |= {"precision": "float32", "eval_fraction": 0.1, "steps_per_execution": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "result.json").write_text('{"finished": true}')
    ran = []
    monkeypatch.setattr(cifar10_method, "run_train", lambda words: ran.append(words[-1]))
    for flag in ("--batch_size=64", "--eval_fraction=0.1", "--batch_size=32", "--epochs=9999"):
        cifar10_method.run_unless_finished(tmp_path, "name", 0, [*words, flag])
    assert ran == ["--batch_size=32", "--epochs=9999"]


def test_rows_of_a_decay_have_it():
    options = memory_cifar10.read_flags(["--reasons", "--flags=--ema_decay=0.98"])
    for row in memory_cifar10.rows_of(options):
        decay = re.search(r"decay-([\d.]+)", row)
        config = train.read_flags(["train.py", *memory_cifar10.command(row, options, 0)])
        assert decay is None or config.ema_decay == float(decay[1]), row


def test_commands_parse():
    """The commands in the docstrings and the README, and the train.py commands of the benchmarks."""
    texts = [
        path.read_text()
        for path in [*FOLDER.glob("*.py"), *FOLDER.glob("studies/*.py"), FOLDER / "README.md"]
    ]
    for folder, name, words in re.findall(
        r"python benchmarks/(studies/)?(?!NAME)(\w+)\.py((?: --?[\w=:./*-]+)*)", "\n".join(texts)
    ):
        assert scripts()[name] == f"benchmarks.{folder}{name}".replace("/", ".")
        with contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit):
            importlib.import_module(scripts()[name]).main(["--help"])
        help_text = output.getvalue()
        unknown = [flag for flag in re.findall(r"--\w+", words) if flag not in help_text]
        assert not unknown, (name, unknown)


@pytest.mark.slow
def test_train_commands_parse():
    from benchmarks import kill_and_resume

    options = cifar10_method.read_flags([])
    commands = [cifar10_method.command(name, options, 0) for name in cifar10_method.RUNS]
    for flags in ([], ["--reasons"]):
        options = memory_cifar10.read_flags(["--flags=--ema_decay=0.98", *flags])
        commands += [memory_cifar10.command(row, options, 0) for row in memory_cifar10.rows_of(options)]
    options = continued_pretraining.read_flags([])
    photos = ["--dataset=folder:p", "--labels=l.csv", "--all_labels=a.csv", "--backbone_weights=w.weights.h5"]
    commands += [words for _, _, words in distill_photos.commands(distill_photos.read_flags(photos), 0)]
    commands += [continued_photos.command(continued_photos.read_flags(photos), 0)]
    commands += [words for _, _, words in continued_pretraining.commands(options, 0)]
    commands += [[f"--mode={stage}", *flags] for stage, flags in kill_and_resume.STAGES.items()]
    for words in commands:
        train.read_flags(["train.py", *words])
