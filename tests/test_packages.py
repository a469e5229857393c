"""Packages: all that is imported is declared, and a missing one is one line with the command that installs it."""

import ast
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

from simclr_keras import packages
from simclr_keras.config import command_line
from simclr_keras.errors import InputError

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Modules whose distributions have other names.
DISTRIBUTIONS = {"absl": "absl-py", "sklearn": "scikit-learn", "PIL": "pillow"}
NOT_OURS = {"torch", "google"}  # of the user, and of TensorFlow (protobuf)


def distributions(requirements):
    return {re.split(r"[\[<>=!~ ]", text)[0].replace("_", "-").lower() for text in requirements}


def imported():
    for path in (ROOT / "simclr_keras").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            yield from (name.partition(".")[0] for name in names)


def test_imports_are_declared():
    extras = PROJECT["optional-dependencies"]
    declared = distributions(
        [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]
    )
    modules = {*imported()} - sys.stdlib_module_names - NOT_OURS - {"simclr_keras"}
    needed = {DISTRIBUTIONS.get(module, module).replace("_", "-") for module in modules}
    assert needed <= declared, needed - declared


def test_extras_install_their_packages():
    for package in packages.PACKAGES.values():
        extra = distributions(PROJECT["optional-dependencies"][package.extra])
        assert package.name.replace("_", "-").lower() in extra, package
    wanted = {*packages.PACKAGES} - {*packages.missing()}
    assert "tensorflow" in wanted
    assert "numpy" not in packages.PACKAGES


def test_requirements_are_the_full_set():
    extras = PROJECT["optional-dependencies"]
    left_out = ("gpu", "tpu", "hf", "keras-hub", "parquet")
    texts = PROJECT["dependencies"] + [
        text for name in extras if name not in left_out for text in extras[name]
    ]
    full = {text.split(" #")[0].replace(" ", "") for text in texts if not text.startswith("simclr_keras[")}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert {line.replace(" ", "") for line in lines if line and not line.startswith("#")} == full


def test_missing_package_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)

    def main(argv):
        import tensorflow_datasets  # noqa: F401

    assert command_line.run(main, ["simclr"], "simclr") == 2
    assert capsys.readouterr().err == (
        "simclr: error: tensorflow-datasets is missing (datasets by name, such as cifar10); install it with: "
        'pip install "simclr_keras[tfds]"\n'
    )


def test_required_package_that_is_missing_or_broken(monkeypatch, tmp_path):
    install = r'install it with: pip install "simclr_keras\[parquet\]"'
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=rf"^pyarrow is missing \(embed to Parquet\); {install}$"):
        packages.require("pyarrow")
    monkeypatch.delitem(sys.modules, "pyarrow")
    (tmp_path / "pyarrow.py").write_text("import nothing_of_this_name")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"^pyarrow cannot be imported: No module named 'nothing_of"):
        packages.require("pyarrow")


def test_extras_are_explained():
    page = (ROOT / "docs/install.md").read_text()
    assert [name for name in PROJECT["optional-dependencies"] if f"`{name}`" not in page] == ["test"]


@pytest.mark.slow
def test_public_names_need_only_keras_and_tensorflow():
    """load_run, HubLayer and the learners among them."""
    code = (
        "import sys\n"
        "from simclr_keras import packages\n"
        "for name in {*packages.PACKAGES, 'filelock', 'PIL'} - {'tensorflow'}:\n"
        "    sys.modules[name] = None\n"
        "import simclr_keras\n"
        "names = [getattr(simclr_keras, name) for name in simclr_keras.__all__]\n"
        "print(simclr_keras.create_model('r18_0.05x_sk0', image_size=8).name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "simclr\n"), done.stderr
