"""The rows of a report: one per accuracy of a run, and the mean of runs that differ only in seeds."""

import dataclasses
import statistics
from collections.abc import Sequence

from simclr_keras.evaluation.metrics import accuracy_interval
from simclr_keras.tools.reporting.find_runs import Run, place_of
from simclr_keras.tools.reporting.repetitions import ancestors_of, depth_of, seeds_of, settings_of

_ORDER = ("pixels", "untrained", "initial", "supervised", "pretrain")
_ORDER += ("knn", "linear_eval", "eval", "finetune", "distill")

# Accuracies in the result of a pretraining: (prefix of the fields, kind, stage).
_PRETRAINING = (
    ("raw_pixels_knn", "pixels", "raw pixels, kNN"),
    ("raw_pixels_logistic", "pixels", "raw pixels, logistic regression"),
    ("color_histogram_logistic", "pixels", "color histogram, logistic regression"),
    ("random_encoder_knn", "untrained", "untrained encoder, kNN"),
    ("random_encoder_logistic", "untrained", "untrained encoder, logistic regression"),
    ("initial_encoder_knn", "initial", "initial encoder, kNN"),
    ("initial_encoder_logistic", "initial", "initial encoder, logistic regression"),
    ("knn", "pretrain", "pretrain, kNN"),
    ("pretrained_encoder_logistic", "pretrain", "pretrain, logistic regression"),
    ("probe", "pretrain", "pretrain, online linear probe"),
)
_PRETRAINED = {stage: number for number, (_, _, stage) in enumerate(_PRETRAINING)}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the report: one accuracy of one run, or the mean of several.

    Attributes:
        stage: what was measured. kind: "pixels", "untrained", "initial" or the run's mode.
        dataset, model, parameters, labels_used: None if unknown. `labels_used` of a mean is None if its runs
            differ.
        top1, top5: shares in [0, 1] or None.
        interval: (low, high) of top-1: the 95 % interval of one run, the smallest and largest of several; or None.
        top5_range: the same of the top-5 of several; or None.
        balanced_accuracy, cross_validated: shares in [0, 1] or None; the latter is the cross-validated top-1.
        run: path of the run directory; of a mean None.
        seeds: of the runs, in their order; None for one unknown.
        note: "" or why the run is not finished.
        problem: "" or a few words on how its training failed. warnings: of its result.
        remark: "" or that a fine-tuning is no better than training on the labels alone.
        group: rows of the same number are repetitions of each other.
    """

    stage: str
    kind: str
    dataset: str | None
    model: str | None
    parameters: int | None
    labels_used: int | None
    top1: float | None = None
    top5: float | None = None
    interval: tuple | None = None
    balanced_accuracy: float | None = None
    cross_validated: float | None = None
    top5_range: tuple | None = None
    run: str | None = None
    seeds: tuple = ()
    note: str = ""
    problem: str = ""
    remark: str = ""
    warnings: tuple[str, ...] = ()
    group: int = 0

    @property
    def is_mean(self):
        return self.run is None


def rows_of_runs(runs: Sequence[Run]) -> list[Row]:
    """Return the rows of runs, ancestors before descendants.

    Runs that differ only in seeds (their own or their ancestors') are neighbors, followed by their mean. Unfinished
    runs have a note instead of accuracies.
    """
    by_place = {place_of(run.path): run for run in runs}
    groups = {}
    for run in runs:
        ancestors = ancestors_of(run, by_place)
        settings, seeds = settings_of(run, ancestors, by_place), seeds_of(run, ancestors)
        for row in _rows_of(run):
            groups.setdefault((settings, row.kind, row.stage), []).append(
                (depth_of(run, ancestors), seeds, row)
            )
    ordered = sorted((part for group in groups.values() for part in _repetitions(group)), key=_order)
    return _compared([row for number, group in enumerate(ordered) for row in _with_mean(group, number)])


def _compared(rows):
    """Return the rows, with a remark on fine-tunings that do not beat supervised training of the same network.

    Repetitions are compared by their mean.
    """
    whole = {row.group: row for row in rows if row.top1 is not None}  # the last of a group is its mean
    supervised = {}
    for row in whole.values():
        if row.kind == "supervised":
            supervised[_compared_by(row)] = max(row.top1, supervised.get(_compared_by(row), 0.0))
    return [
        _remarked(row, supervised.get(_compared_by(row))) if row is whole.get(row.group) else row
        for row in rows
    ]


def _remarked(row, supervised):
    if row.kind != "finetune" or supervised is None or row.top1 > supervised:
        return row
    return dataclasses.replace(row, remark=f"does not beat supervised, {100 * supervised:.1f} %")


def _compared_by(row):
    return row.dataset, row.model, row.labels_used


def _rows_of(run):
    """Return the rows of one run, without their group."""
    settings, result = run.config.settings, run.result
    row = Row(
        stage=_stage(run),
        kind=run.config.mode,
        dataset=run.value("dataset"),
        model=run.value("model"),
        parameters=result.parameters,
        labels_used=result.labels_used,
        run=run.path,
        seeds=(run.value("seed"),),
    )
    if not run.finished:
        epochs = f", {run.epochs_done} of {settings['epochs']} epochs" if settings.get("epochs") else ""
        return [dataclasses.replace(row, note=f"unfinished{epochs}")]
    row = dataclasses.replace(row, problem=result.get("problem") or "", warnings=tuple(result.warnings))
    cross_validated = result.get("cross_validated_top1")
    if row.kind != "pretrain":
        top1, interval = result.top1, result.top1_interval
        interval = tuple(interval) if interval else _interval(top1, result)
        more = {"balanced_accuracy": result.get("balanced_accuracy"), "cross_validated": cross_validated}
        own = dataclasses.replace(row, top1=top1, top5=result.top5, interval=interval, **more)
        return [*_measured(row, result), own] if row.kind == "supervised" else [own]
    measured = _measured(row, result, cross_validated)
    return measured or [dataclasses.replace(row, cross_validated=cross_validated)]


def _measured(row, result, cross_validated=None):
    """Return the rows of the accuracies in the result of a pretraining, or beside that of another stage."""
    measured = []
    for prefix, kind, stage in _PRETRAINING:
        top1 = result.get(f"{prefix}_top1")
        if top1 is None:
            continue
        model = {} if kind != "pixels" else {"model": None, "parameters": None}
        figures = {"top1": top1, "top5": result.get(f"{prefix}_top5"), "interval": _interval(top1, result)}
        figures["cross_validated"] = cross_validated if prefix == "probe" else None
        measured.append(dataclasses.replace(row, stage=stage, kind=kind, **model, **figures))
    return measured


def _stage(run):
    """Return the name of a stage, with the settings that distinguish its runs."""
    ema = ""
    if run.config.settings.get("use_ema") and run.config.mode != "pretrain":
        evaluates = run.config.mode in ("knn", "linear_eval", "eval")
        ema = ", momentum network" if evaluates else " from the momentum network"
    return _name_of_stage(run) + ema


def _name_of_stage(run):
    mode = run.config.mode
    layer = run.value("head_layer")
    on_layer = "" if layer is None else f", head layer {layer}"
    if mode == "finetune":
        return f"fine-tune{on_layer}"
    if mode == "linear_eval":
        fast = run.value("protocol") == "fast"
        return f"{'logistic regression' if fast else 'linear evaluation'}{on_layer}"
    if mode == "knn":
        return f"kNN{on_layer}"
    if mode == "eval":
        return "evaluation of the online probe" if run.result.classifier == "online probe" else "evaluation"
    if mode == "distill":
        alpha, where = run.config.settings.get("alpha"), run.config.settings.get("distill_on")
        teacher = (run.result.ancestors or [{}])[-1].get("model")
        return (
            ("self-distill" if teacher and teacher == run.value("model") else "distill")
            + (f", alpha {alpha:g}" if alpha not in (None, 1) else "")
            + (", labeled images only" if where == "labeled" else "")
        )
    return mode


def _interval(top1, result):
    images = result.evaluation_images
    return accuracy_interval(round(top1 * images), images) if images and top1 is not None else None


def _repetitions(group):
    """Return [group], or each row alone if equal seeds show that the runs differ in something else."""
    seeds = [seeds for _, seeds, _ in group]
    return [group] if len(set(seeds)) == len(seeds) else [[entry] for entry in group]


def _order(group):
    """Return a sort key: ancestors precede descendants, in the order of the method."""
    depth, _, row = group[0]
    return (
        depth,
        _ORDER.index(row.kind) if row.kind in _ORDER else len(_ORDER),
        _PRETRAINED.get(row.stage, 0),
        min((row.labels_used for *_, row in group if row.labels_used is not None), default=float("inf")),
        max(row.parameters or 0 for *_, row in group),
        row.stage,
        str(row.model),
        row.run,
    )


def _with_mean(group, number):
    """Return the rows of a group by seed, and their mean if at least two are finished."""
    members = [dataclasses.replace(row, group=number) for *_, row in group]
    members.sort(key=lambda row: (row.seeds[0] is None, row.seeds[0] or 0, row.run))
    counted = [row for row in members if row.top1 is not None]
    if len(counted) < 2:
        return members
    top1 = [row.top1 for row in counted]
    top5 = [row.top5 for row in counted if row.top5 is not None]
    others = {
        name: [getattr(row, name) for row in counted] for name in ("balanced_accuracy", "cross_validated")
    }
    labels = {row.labels_used for row in counted}
    mean = dataclasses.replace(
        counted[0],
        labels_used=labels.pop() if len(labels) == 1 else None,
        top1=statistics.fmean(top1),
        top5=statistics.fmean(top5) if len(top5) == len(top1) else None,
        interval=(min(top1), max(top1)),
        **{name: None if None in values else statistics.fmean(values) for name, values in others.items()},
        top5_range=(min(top5), max(top5)) if len(top5) == len(top1) else None,
        run=None,
        problem="",
        warnings=(),
        seeds=tuple(row.seeds[0] for row in counted),
    )
    return [*members, mean]
