"""Compare the variables of a file with the layers of a network: which is where, and what does not fit."""

import collections
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NamedTuple

from simclr_keras.interop.keys import Entry
from simclr_keras.interop.layers import Layer


class Match(NamedTuple):
    """How a file fits a network.

    Attributes:
        keys: dict of our variable path within the model to the key in the file.
        problems: what does not fit, a phrase each with the key it is about.
    """

    keys: dict
    problems: list


def match(form: ModuleType, entries: list[Entry], shapes: dict, layers: tuple[Layer, ...]) -> Match:
    """Compare the entries of some kinds with the layers of these kinds.

    A format (module tf1_checkpoint, tf2_checkpoint or tf2_saved_model) may let places be read in several ways: the
    Match is that with the fewest problems. `shapes` has the shape of every key.
    """
    keys, problems = {}, []
    by_kind, wanted = by_kind_of(entries), by_kind_of(layers)
    for kind in wanted.keys() | by_kind.keys():
        own, expected = by_kind[kind], wanted[kind]
        matches = [
            _match_kind(own, shapes, expected, numbering) for numbering in form.numberings(own, expected)
        ]
        best = min(matches, key=lambda one: len(one.problems))
        keys |= best.keys
        problems += best.problems
    return Match(keys, problems)


def by_kind_of(items: Iterable[Any]) -> dict[str, list]:
    """Return a dict of kind to the entries, or layers, of that kind."""
    kinds = collections.defaultdict(list)
    for item in items:
        kinds[item.kind].append(item)
    return kinds


def _match_kind(entries, shapes, layers, numbering):
    keys, problems, placed = {}, [], {}
    for entry in entries:
        index = numbering.get(entry.place)
        if index is None or not 0 <= index < len(layers) or entry.role not in layers[index].shapes:
            problems.append(f"unexpected {described(entry.key, shapes)}")
        elif (index, entry.role) in placed:
            problems.append(f"{entry.key} doubles {placed[index, entry.role].key}")
        else:
            placed[index, entry.role] = entry
    for index, layer in enumerate(layers):
        for role, shape in layer.shapes.items():
            entry = placed.get((index, role))
            if entry is None:
                problems.append(f"missing {layer.ours}/{role} {list(shape)}")
            elif tuple(shapes[entry.key]) != shape:
                problems.append(f"{described(entry.key, shapes)} should be {list(shape)}")
            elif entry.group is not None and entry.group != layer.group:
                problems.append(f"{entry.key} stands where {layer.ours} belongs")
            else:
                keys[f"{layer.ours}/{role}"] = entry.key
    return Match(keys, problems + _disorder(placed))


def _disorder(placed):
    """Return phrases about entries whose numbers contradict the order of the blocks they are in."""
    problems = []
    furthest_block, furthest_wrapper = (), -1
    for _, entry in sorted(placed.items(), key=lambda item: item[0]):
        if not entry.within:
            continue
        *block, wrapper = entry.within
        if tuple(block) < furthest_block or (wrapper is not None and wrapper < furthest_wrapper):
            problems.append(f"{entry.key} is out of order")
        furthest_block = max(furthest_block, tuple(block))
        furthest_wrapper = max(furthest_wrapper, -1 if wrapper is None else wrapper)
    return problems


def described(key: str, shapes: dict) -> str:
    """Return a key with its shape, for a message."""
    return f"{key} {list(shapes[key])}" if key in shapes else key
