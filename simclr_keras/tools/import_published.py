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


def _execute(config: ImportConfig) -> None:
    import_published(**dataclasses.asdict(config))


def import_published(
    path,
    out,
    *,
    name=None,
    head_layer=None,
    ema=False,
    class_names=None,
    dataset="imagenet2012",
    overwrite=False,
    say=print,
):
    """Writes a finished run directory that holds published weights, whole or not at all; returns its result.

    Args:
        path, name, head_layer, ema: as in `load_published`.
        out: the run directory. overwrite: whether an imported run that is there may be replaced.
        class_names: path of a text file with a name in each line, or None where they are not known.
        dataset: what the network was trained on.
        say: prints a line.

    Raises:
        InputError: one line: see `load_published`; the kind of network is not known; `out` or the names will not do.
        TrainingError: the disk is full, or the like.
    """
    from simclr_keras.interop.imported_run import described, make
    from simclr_keras.interop.published import open_published
    from simclr_keras.tools import imported_run

    imported_run.check_out(out, overwrite)
    published = open_published(path, name, ema=ema, head_layer=head_layer)
    run = make(published, out, dataset)
    class_names = imported_run.read_class_names(class_names, run.result.get("classes"))
    form, keys, skipped = published.source.form.NAME, published.network.keys, published.network.skipped
    say(f"weights  {path}: {form}, {len(keys)} variables of {run.config.model}")
    for why, count in sorted(collections.Counter(skipped.values()).items()):
        say(f"         left out: {count} of the {why}")
    say(f"kind     {described(run)}")
    imported_run.write(run, published, out, class_names, overwrite)
    say(f"run      {out}, for --init, --teacher and simclr export --run")
    return run.result


COMMAND = Command("import", INTRODUCTION, ImportConfig, _execute)

if __name__ == "__main__":
    COMMAND.leave()
