"""The released code's variables, rebuilt with tests/golden/recipe.py and put in their places in our models."""

import importlib.util
import pathlib
import re

RECIPE = pathlib.Path(__file__).parents[1] / "golden" / "recipe.py"


def load_recipe():
    """Imports tests/golden/recipe.py, which stands apart from the test packages."""
    spec = importlib.util.spec_from_file_location("golden_recipe", RECIPE)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def places(names, variables):
    """Returns, for every released name, the index of its variable among ours.

    The release numbers convolutions, normalizations and dense layers apart, each in the order of creation
    (a shortcut before its block); ours come in that order in `model.weights`.
    """
    numbers = {}
    for name in names:
        kind, number, _ = layer_of(name)
        numbers.setdefault(kind, set()).add(number)
    ours = {}
    for index, variable in enumerate(variables):
        layer, _, role = variable.path.rpartition("/")
        layers = ours.setdefault(kind_of(layer, variable), {})
        layers.setdefault(layer, {})[role] = index
    found = []
    for name in names:
        kind, number, role = layer_of(name)
        position = sorted(numbers[kind]).index(number)
        found.append(list(ours[kind].values())[position][role])
    assert sorted(found) == list(range(len(variables)))
    return found


def layer_of(name):
    layer, role = name.split(":")[0].split("/")[-2:]
    kind, number = re.fullmatch(r"(conv2d|sync_batch_normalization|dense)(?:_(\d+))?", layer).groups()
    return kind, int(number or 0), role


def kind_of(layer, variable):
    if "bn" in layer.rpartition("/")[2]:
        return "sync_batch_normalization"
    return "conv2d" if len(variable.shape) == 4 else "dense"
