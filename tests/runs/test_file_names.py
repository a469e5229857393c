"""No module outside runs/ contains the name of a file of a run directory."""

import ast
import pathlib

import simclr_keras

ROOT = pathlib.Path(simclr_keras.__file__).parent
# "best" is also the value of --checkpoint.
NAMES = {
    "config.json",
    "split.json",
    "result.json",
    "model.json",
    "metrics.csv",
    "run.lock",
    "training_images.tsv.gz",
    "baselines.json",
    "head_layer.json",
    "checkpoints",
    "tensorboard",
}


def test_file_names_are_known_in_runs_alone():
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in sorted(ROOT.rglob("*.py"))
        if path.relative_to(ROOT).parts[0] not in ("runs", "packages.py")  # TensorBoard is a package, too
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if any(part in NAMES for part in node.value.split("/"))
    ]
    assert offenders == []
