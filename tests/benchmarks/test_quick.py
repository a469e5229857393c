"""Every benchmark runs with --quick; its figures are not tested."""

import contextlib
import importlib
import io
import pathlib
import re

import pytest

import train
from benchmarks import cifar10_method, continued_pretraining, memory_cifar10
from tests.training.tiny import make_tiny

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"
# A few words that each benchmark must print, in this order.
OUTPUT = {
    "backbone_parity": r"keras:MobileNet +differs by .*\n0 networks differ",
    "cifar10_method": r"pretrain, knn.*finetune-1pct-layer1.*fine-tuning beats supervised",
    "collectives": r"8 \| total \| \d\d .*collectives / least.*\| 8 \| 1\.0\d+ \| 1\.0\d+ ",
    "continued_pretraining": r"classes 0-4 \| kNN.*continued \| linear.*random weights \| linear",
    "evaluation_resize": r"8 \| 5 folds \| .* \| \+0\.0 .*8 \| 4 per class \| ",
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


def test_every_benchmark_is_tested_and_documented():
    scripts = {path.stem for path in FOLDER.glob("*.py")} - PARTS
    assert scripts == set(OUTPUT)
    readme = (FOLDER / "README.md").read_text()
    assert not [name for name in scripts if f"`{name}.py`" not in readme]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in OUTPUT]
)
def test_quick(name, tmp_path, monkeypatch, capsys):
    benchmark = importlib.import_module(f"benchmarks.{name}")
    flags = ["--quick"]
    if name in ("cifar10_method", "continued_pretraining", "memory_cifar10"):
        flags += [f"--runs={tmp_path}/runs"]
        flags += [f"--table={tmp_path}/table.md"] if name == "cifar10_method" else []
        # In this process: several starts of TensorFlow take longer than the runs.
        monkeypatch.setattr(cifar10_method, "run_train", lambda words: train.main(["train.py", *words]))
    if name == "continued_pretraining":
        make_tiny(monkeypatch)
    if name == "two_hosts":  # two real processes train in tests/training/hosts
        make_tiny(monkeypatch)
        monkeypatch.setattr(benchmark, "run_hosts", lambda way, flags: train.main(["train.py", *flags]))
    assert not benchmark.main(flags)
    output = capsys.readouterr().out
    assert re.search(OUTPUT[name], output, re.DOTALL), output


def test_commands_parse():
    """The commands in the docstrings and the README, and the train.py commands of the benchmarks."""
    texts = [path.read_text() for path in [*FOLDER.glob("*.py"), FOLDER / "README.md"]]
    for name, words in re.findall(
        r"python benchmarks/(?!NAME)(\w+)\.py((?: --?[\w=:./*-]+)*)", "\n".join(texts)
    ):
        with contextlib.redirect_stdout(io.StringIO()) as output, pytest.raises(SystemExit):
            importlib.import_module(f"benchmarks.{name}").main(["--help"])
        help_text = output.getvalue()
        unknown = [flag for flag in re.findall(r"--\w+", words) if flag not in help_text]
        assert not unknown, (name, unknown)


def test_train_commands_parse():
    from benchmarks import kill_and_resume

    options = cifar10_method.read_flags([])
    commands = [cifar10_method.command(name, options, 0) for name in cifar10_method.RUNS]
    options = memory_cifar10.read_flags(["--flags=--ema_decay=0.99"])
    commands += [memory_cifar10.command(row, options, 0) for row in memory_cifar10.ROWS]
    options = continued_pretraining.read_flags([])
    commands += [words for _, _, words in continued_pretraining.commands(options, 0)]
    commands += [[f"--mode={stage}", *flags] for stage, flags in kill_and_resume.STAGES.items()]
    for words in commands:
        train.read_flags(["train.py", *words])
