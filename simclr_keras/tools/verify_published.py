"""simclr verify: the accuracy of published weights beside the published one."""

import dataclasses

from simclr_keras.config.command import Command
from simclr_keras.config.option import Settings, again, option
from simclr_keras.errors import InputError
from simclr_keras.interop.fetching.addresses import PUBLISHED, published_name
from simclr_keras.tools.import_published import ImportConfig

INTRODUCTION = """\
Evaluates a published classifier on ImageNet's validation images, with the evaluation preprocessing,
and prints the published accuracy beside its own.

  simclr verify --path=simclrv2/finetuned_1pct/r50_1x_sk0 --data_dir=/data/tfds
  simclr verify --run=runs/r50-1pct --data_dir=/data/tfds
  simclr verify --path=published:r50_1x_sk0 --write_digests

Exit codes: 0 done, whatever the accuracy; 2 the command, the file or the data are wrong."""


@dataclasses.dataclass(frozen=True)
class VerifyConfig(Settings):
    """The flags of verify."""

    path: str | None = again(ImportConfig, "path", default=None, required=None)
    run: str | None = option(None, "Or a run directory made by simclr import.")
    name: str | None = again(ImportConfig, "name")
    head_layer: int | None = again(ImportConfig, "head_layer")
    ema: bool = again(ImportConfig, "ema")
    dataset: str = option(
        "imagenet2012",
        "Labeled dataset whose evaluation split is used: digits, folder:PATH, npz:PATH or a TFDS name.",
    )
    data_dir: str | None = option(None, "Folder in which TensorFlow Datasets keeps prepared data.")
    batch_size: int = option(256, "Images per step.", unit="images", at_least=1)
    write_digests: bool = option(
        False,
        "Instead of evaluating, check all arrays of the published name in --path and write the digests of its files "
        "into the package, for later downloads to be compared with.",
    )

    def validate(self) -> None:
        super().validate()
        if bool(self.path) == bool(self.run):
            raise InputError("give --path of published weights, or --run of an imported run: one of the two.")
        for flag in ("name", "head_layer", "ema"):
            if self.run and not (getattr(self, flag) is None or getattr(self, flag) is False):  # 0 is a layer
                raise InputError(f"--{flag} needs --path; a run directory in --run has its own.")
        if self.write_digests and not (self.path or "").startswith(PUBLISHED):
            raise InputError("--write_digests needs a published name, such as --path=published:r50_1x_sk0.")


def _execute(config: VerifyConfig) -> None:
    if config.write_digests:
        write_digests(config.path)
        return
    settings = dataclasses.asdict(config)
    del settings["write_digests"]
    verify(**settings)


def write_digests(path, *, say=print):
    """Check every array of a published network, and add the digests of its files to the package's table.

    Args:
        path: published:NAME. say: prints a line.

    Raises:
        InputError: it cannot be downloaded, or keys, shapes or values are wrong.
        TrainingError: the table cannot be written.
    """
    from simclr_keras.interop.fetching.cache import TABLE, add_to_table
    from simclr_keras.interop.published import open_published

    published = open_published(path)
    for variable in published.shapes():
        published.read(variable)
    add_to_table(published_name(path))
    say(f"{len(published.shapes())} arrays are good; wrote {TABLE}")


def verify(
    path=None,
    run=None,
    *,
    name=None,
    head_layer=None,
    ema=False,
    dataset="imagenet2012",
    data_dir=None,
    batch_size=256,
    say=print,
):
    """Return a dict of top1, top5, balanced_accuracy (shares), images and, if there is one, published_top1.

    Args:
        path, name, head_layer, ema: as in `load_published`. run: instead, an imported run directory.
        dataset, data_dir: as in `load_dataset`. batch_size: images at a time. say: prints a line.

    Raises:
        InputError: the weights, the run or the data are not usable.
    """
    import tensorflow as tf

    from simclr_keras.data.sources.load_dataset import load_dataset
    from simclr_keras.evaluation.features import Extractor
    from simclr_keras.evaluation.metrics import accuracy, accuracy_interval

    load, about = _of_run(run) if run else _of_file(path, name, head_layer, ema)
    splits = load_dataset(dataset, data_dir=data_dir)
    _check(splits, dataset, about)
    say(f"network  {run or path}: {about['name']}, classifier on layer {about['head_layer']} of the head")
    say(f"data     {dataset}: {splits.evaluation.num_examples:,} images, {about['image_size']} pixels a side")
    extractor = Extractor(
        load(),
        tf.distribute.get_strategy(),
        image_size=about["image_size"],
        batch_size=batch_size,
        endpoints=("logits",),
    )
    outputs = extractor(splits.evaluation)
    scores = accuracy(outputs["logits"], outputs["label"])
    low, high = accuracy_interval(round(scores.top1 * scores.total), scores.total)
    say(f"top-1    {scores.top1:.1%} (95 % interval {low:.1%} to {high:.1%})")
    say(f"top-5    {scores.top5:.1%}")
    say(f"balanced {scores.balanced_accuracy:.1%}, the mean recall of the classes")
    result = {"top1": scores.top1, "top5": scores.top5, "balanced_accuracy": scores.balanced_accuracy}
    result["images"] = scores.total
    published = about["published_top1"]
    if published is None or dataset.partition("/")[0].partition(":")[0] != "imagenet2012":
        say("no accuracy of such a network on this data is published")
        return result
    difference = 100 * (scores.top1 - published)
    say(f"published top-1 {published:.1%} ({about['published_in']}): {difference:+.1f} points")
    return {**result, "published_top1": published}


def _of_file(path, name, head_layer, ema):
    from simclr_keras.interop.published import open_published

    published = open_published(path, name, ema=ema, head_layer=head_layer)
    top1, where = (None, None)
    if published.category and not ema:
        top1, where = published.category.top1(published.architecture["name"])
    return published.load, {**published.architecture, "published_top1": top1, "published_in": where}


def _of_run(path):
    from simclr_keras.interop.open_source import open_source

    opened = open_source(path, flag="run")
    result = opened.result
    if not result.imported:
        raise InputError(f"--run={path} was not imported; simclr eval --init={path} evaluates it.")
    published = {"published_top1": result.published_top1, "published_in": result.published_in}
    return opened.model, {**opened.architecture.to_json(), **published, "image_size": opened.image_size}


def _check(splits, dataset, about):
    """Raise InputError unless network and data have the same classes and the data has labels."""
    if about["num_classes"] is None:
        raise InputError("the network has no classifier; give a fine-tuned one.")
    if splits.evaluation is None or not splits.evaluation.has_labels:
        raise InputError(f"{dataset} has no labeled evaluation split; give data that has one.")
    if len(splits.class_names) != about["num_classes"]:
        raise InputError(
            f"the network has {about['num_classes']} classes, {dataset} has {len(splits.class_names)}; give the data "
            "that it was trained on."
        )


COMMAND = Command("verify", INTRODUCTION, VerifyConfig, _execute)

if __name__ == "__main__":
    COMMAND.leave()
