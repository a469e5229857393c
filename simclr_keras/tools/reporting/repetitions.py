"""Which runs come before a run, and whether two runs are repetitions of each other."""

import dataclasses
import json

from simclr_keras.config.modes import MODES
from simclr_keras.runs.records import AncestorEntry, ConfigRecord
from simclr_keras.tools.reporting.find_runs import Run, place_of

# The number of runs before a stage if its ancestors are unknown; before distillation, those of its teacher.
_DEPTHS = {"finetune": 1, "linear_eval": 1, "knn": 1, "eval": 1, "distill": 2}
# Settings in which repetitions may differ: the seed, and where files are.
_PLACES = {"seed", "model_dir", "init", "teacher"}
_COMPARED = ("mode", "model", "dataset", "labels_used", "head_layer", "epochs")


def _settings(config: ConfigRecord) -> str:
    """Return what two runs must share to be repetitions, as text."""
    rules = {}
    if config.mode in MODES:
        rules = {field.name: field.metadata for field in dataclasses.fields(MODES[config.mode])}
    fixed = {
        name: value
        for name, value in config.settings.items()
        # Earlier versions lack some settings.
        if value is not None
        and name not in _PLACES
        and (not rules or (name in rules and rules[name].get("resume") != "free"))
    }
    return json.dumps([config.mode, fixed], sort_keys=True)


def ancestors_of(run: Run, runs: dict[str, Run]) -> list[AncestorEntry]:
    """Return the runs before a run, oldest first, from its result or, if it has not ended, from its settings.

    `runs` are all runs of the report by `place_of` their paths.
    """
    if run.finished:
        return run.result.ancestors
    ancestors: list[AncestorEntry] = []
    for flag in ("init", "teacher"):
        before = runs.get(place_of(str(run.config.settings.get(flag))))
        if before is not None:
            entry = {"run": before.path, "mode": before.config.mode, "seed": before.value("seed")}
            entry["checkpoint"] = run.config.settings.get(f"{flag}_checkpoint")
            if flag == "init" and run.config.settings.get("use_ema"):
                entry["ema"] = True
            ancestors += [*before.result.ancestors, entry]
    return ancestors


def settings_of(run: Run, ancestors: list[AncestorEntry], runs: dict[str, Run]) -> tuple:
    """Return the settings of a run and of its ancestors; of missing ones what their descendant's result contains."""
    settings = [_settings(run.config)]
    for ancestor in ancestors:
        before = runs.get(place_of(str(ancestor.get("run"))))
        own = _settings(before.config) if before else json.dumps([ancestor.get(name) for name in _COMPARED])
        settings.append((own, ancestor.get("checkpoint"), bool(ancestor.get("ema"))))
    return tuple(settings)


def seeds_of(run: Run, ancestors: list[AncestorEntry]) -> tuple:
    """Return the seeds of a run and of its ancestors."""
    return (run.value("seed"), *(ancestor.get("seed") for ancestor in ancestors))


def depth_of(run: Run, ancestors: list[AncestorEntry]) -> int:
    """Return how many stages come before a run; more than come before every ancestor."""
    depth = -1
    for mode in (*(ancestor.get("mode") for ancestor in ancestors), run.config.mode):
        depth = max(depth + 1, _DEPTHS.get(mode, 0))
    return depth
