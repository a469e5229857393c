"""The >>> examples in docstrings run and give what they print; every public name has one."""

import doctest
import importlib
import pathlib

import pytest

import simclr_keras
from simclr_keras.export.formats.saved_model import write_saved_model
from tests.earlier_runs import DIGITS, make_run, pretraining
from tests.export.networks import SIZE, make_network
from tests.tools.published_files import write_published

PACKAGE = pathlib.Path(simclr_keras.__file__).parent
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the examples read: published weights, a run and a SavedModel."""
    folder = tmp_path_factory.mktemp("examples")
    write_published(
        folder / "simclrv2", "finetuned_1pct", model="r50_1x_sk0", classes=1000, head_layer=1, size=224
    )
    (folder / "runs").mkdir()
    make_run(folder / "runs" / "digits", pretraining("digits", len(DIGITS)), DIGITS)
    write_saved_model(
        make_network(),
        str(folder / "exports" / "photos"),
        image_size=SIZE,
        endpoints=["encoder"],
    )
    return folder


def test_every_public_name_has_an_example():
    names = [name for name in simclr_keras.__all__ if name != "__version__"]
    assert [name for name in names if ">>>" not in getattr(simclr_keras, name).__doc__] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    module = importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(example, out=report.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(report)
