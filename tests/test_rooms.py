"""The rooms of the package: who imports whom, how large folders are, and no circles."""

import ast
import collections
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "simclr_keras"
# Without a room.
SMALL = {
    "errors",
    "backend",
    "preprocess",
    "orientation",
    "formatting",
    "files",
    "hosts",
    "locks",
    "packages",
    "replicas",
    "version",
}
BELOW_TRAINING = {
    "config",
    "data",
    "evaluation",
    "export",
    "interop",
    "models",
    "objectives",
    "optim",
    "runs",
}
MAY_IMPORT = {
    "config": set(),  # and the tables of model names, see NAME_TABLES
    "models": set(),
    "optim": set(),
    "objectives": {"models", "optim"},
    "data": set(),
    "evaluation": {"data"},
    "runs": {"config", "data", "models"},
    "interop": {"config", "models", "runs"},
    "export": {"config", "data", "interop", "models", "runs"},
    "training": BELOW_TRAINING,
    "tools": BELOW_TRAINING | {"training"},
    "fit": BELOW_TRAINING | {"training", "tools"},
    "commands": BELOW_TRAINING | {"training", "tools", "fit"},
}
NAME_TABLES = {"simclr_keras.models.backbone_names", "simclr_keras.models.zoo"}  # import no TensorFlow
MOST_FILES = 14
LARGEST_ROOM = 0.18  # of all lines


def _modules():
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }


def _imports(path, modules, nodes=ast.walk):
    """Names of this package's modules that a file imports, also inside functions."""
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules else node.module


def _room(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def test_rooms_import_downwards_only():
    modules = _modules()
    upward = [
        f"{module} imports {name}"
        for module, path in modules.items()
        for name in _imports(path, modules)
        if _room(module) in MAY_IMPORT
        and _room(name) not in {_room(module), "", *SMALL, *MAY_IMPORT[_room(module)]}
        and not (_room(module) == "config" and name in NAME_TABLES)
    ]
    assert not upward
    small = [
        f"{module} imports {name}"
        for module, path in modules.items()
        for name in _imports(path, modules)
        if _room(module) in SMALL and _room(name) not in {"", *SMALL}
    ]
    assert not small


def test_imports_have_no_circle():
    modules = _modules()
    left = {module: {*_imports(path, modules)} - {module} for module, path in modules.items()}
    while ready := [module for module, names in left.items() if not names & left.keys()]:
        for module in ready:
            del left[module]
    assert not left, f"modules in circles, or above one: {sorted(left)}"


def test_training_starts_without_scikit_learn():
    """Its import takes a second, and most trainings do without it."""
    modules, seen = _modules(), set()
    pending = [
        f"simclr_keras.training.stages.{name}" for name in ("pretrain", "supervised", "finetune", "distill")
    ]
    while pending:
        module = pending.pop()
        seen.add(module)
        pending += {*_imports(modules[module], modules, lambda tree: tree.body)} - seen
    assert "simclr_keras.training.engine.loop" in seen
    at_the_top = re.compile(r"^(from|import) sklearn", re.MULTILINE)
    assert not [module for module in seen if at_the_top.search(modules[module].read_text())]


def test_folders_are_small():
    files = collections.Counter(path.parent for path in PACKAGE.rglob("*.py"))
    assert not [f"{folder.name}: {count} files" for folder, count in files.items() if count > MOST_FILES]


def test_rooms_are_small():
    lines = collections.Counter()
    for module, path in _modules().items():
        lines[_room(module)] += len(path.read_text().splitlines())
    assert not {room: count for room, count in lines.items() if count > LARGEST_ROOM * lines.total()}


def _names_a_strategy(path):
    return any(
        isinstance(node, ast.Attribute) and node.attr.endswith("Strategy")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_one_strategy_module():
    """Only training/engine/strategy.py names a class of strategies; all else asks tf.distribute for its context."""
    named = [name for name, path in _modules().items() if _names_a_strategy(path)]
    assert named == ["simclr_keras.training.engine.strategy"]
