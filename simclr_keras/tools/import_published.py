"""simclr import: published weights as a run directory, for every later stage."""

import collections
import dataclasses

from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, option

INTRODUCTION = """\
Makes a run directory of weights that were released with SimCLRv2 (TF1 checkpoints, TF2 training
checkpoints, TF2 SavedModels). Stages start or learn from it, and simclr export exports it.

  simclr import --path=simclrv2/pretrained/r50_1x_sk0 --out=runs/r50
  simclr finetune --recipe=photos_finetune --init=runs/r50 --dataset=folder:photos
  simclr import --path=simclrv2/finetuned_1pct/r50_1x_sk0 --out=runs/r50-1pct
  simclr distill --recipe=photos_distill --teacher=runs/r50-1pct

The name of the network is taken from the path or from --name; all keys and shapes are checked.

Exit codes: 0 done; 1 the run directory cannot be written; 2 something in the command or the file is
wrong."""


@dataclasses.dataclass(frozen=True)
class ImportConfig(Settings):
    """The flags of import."""

    path: str = option(
        "",
        "Published weights: a published name, the prefix of a checkpoint, a folder with one, or a SavedModel.",
        required="give a published name, the prefix of a checkpoint, a folder with one, or a SavedModel",
    )
    out: str = option("", "Run directory to write.", required="give a run directory to write")
    name: str | None = option(
        None,
        "Which network it is: a model (r50_1x_sk0), a kind (pretrained, finetuned_1pct, finetuned_10pct, "
        "finetuned_100pct, supervised, distill_1pct, distill_10pct), or both, such as finetuned_1pct/r50_1x_sk0.",
        default_words="from the path",
    )
    head_layer: int | None = option(
        None,
        "Projection head layer under the classifier, if neither its width nor the path determines it.",
        at_least=0,
    )
    ema: bool = option(False, "Take the moving average of a TF1 checkpoint that was pretrained with one.")
    class_names: str | None = option(
        None, "Text file with the names of the classes, one per line, in their order."
    )
    dataset: str = option("imagenet2012", "Dataset it was trained on, as --dataset of a stage.")
    overwrite: bool = option(False, "Replace an imported run in --out.")


def import_published(config: ImportConfig) -> None:
    """Write a finished run directory that contains published weights, whole or not at all.

    Raises:
        InputError: see `load_published`; or the kind of network is unknown, or the folder or the names are not usable.
        TrainingError: the disk is full, or the like.
    """
    from simclr_keras.interop.imported_run import described, make
    from simclr_keras.interop.published import open_published
    from simclr_keras.tools import imported_run

    imported_run.check_out(config.out, config.overwrite)
    published = open_published(config.path, config.name, ema=config.ema, head_layer=config.head_layer)
    run = make(published, config.out, config.dataset)
    class_names = imported_run.read_class_names(config.class_names, run.result.get("classes"))
    form, keys, skipped = published.source.form.NAME, published.network.keys, published.network.skipped
    print(f"weights  {config.path}: {form}, {len(keys)} variables of {run.config.model}")
    for why, count in sorted(collections.Counter(skipped.values()).items()):
        print(f"         left out: {count} of the {why}")
    print(f"kind     {described(run)}")
    imported_run.write(run, published, config.out, class_names, config.overwrite)
    print(f"run      {config.out}, for --init, --teacher and simclr export --run")


COMMAND = Command("import", INTRODUCTION, ImportConfig, import_published)

if __name__ == "__main__":
    COMMAND.leave()
