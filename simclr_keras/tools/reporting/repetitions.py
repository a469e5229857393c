"""Which runs come before a run, and whether two runs are repetitions of each other."""

import dataclasses
import json

from simclr_keras.config.modes import MODES
from simclr_keras.tools.reporting.find_runs import place_of

# Where a stage stands if its ancestors do not say: nothing comes before the first, a teacher's before the last.
_DEPTHS = {"finetune": 1, "linear_eval": 1, "knn": 1, "eval": 1, "distill": 2}
# Settings in which runs may differ and yet be repetitions: the seed, and where files are.
_PLACES = {"seed", "model_dir", "init", "teacher"}
_TOLD = ("mode", "model", "dataset", "labels_used", "head_layer", "epochs")


def _settings(config):
    """What two runs must share to be repetitions, as text."""
    rules = {}
    if config["mode"] in MODES:
        rules = {field.name: field.metadata for field in dataclasses.fields(MODES[config["mode"]])}
    kept = {
        name: value
        for name, value in config.items()
        if name not in _PLACES
        # Beside the settings there is what follows from them, such as the paths of ancestors.
        and (not rules or (name in rules and rules[name].get("resume") != "free"))
    }
    return json.dumps(kept, sort_keys=True)


def ancestors_of(run, at_hand):
    """What the result tells of the runs before, oldest first; of a run that has not ended what its settings tell."""
    if run.finished:
        return run.result.get("ancestors") or []
    found = []
    for flag in ("init", "teacher"):
        before = at_hand.get(place_of(str(run.config.get(flag))))
        if before is not None:
            told = {"run": before.path, "mode": before.config["mode"], "seed": before.value("seed")}
            told["checkpoint"] = run.config.get(f"{flag}_checkpoint")
            found += [*(before.result.get("ancestors") or []), told]
    return found


def lineage_of(run, ancestors, at_hand):
    """The settings of a run and of its ancestors; of those that are not at hand what their descendant tells."""
    found = [_settings(run.config)]
    for ancestor in ancestors:
        before = at_hand.get(place_of(str(ancestor.get("run"))))
        known = _settings(before.config) if before else json.dumps([ancestor.get(name) for name in _TOLD])
        found.append((known, ancestor.get("checkpoint")))
    return tuple(found)


def seeds_of(run, ancestors):
    """The seeds of a run and of its ancestors."""
    return (run.value("seed"), *(ancestor.get("seed") for ancestor in ancestors))


def depth_of(run, ancestors):
    """How many stages come before; more than that of every ancestor."""
    depth = -1
    for mode in (*(ancestor.get("mode") for ancestor in ancestors), run.config["mode"]):
        depth = max(depth + 1, _DEPTHS.get(mode, 0))
    return depth
