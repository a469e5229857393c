"""The kinds of published networks: what their folders are called, how they were trained, and how good they are."""

import dataclasses
import re

from simclr_keras.errors import InputError
from simclr_keras.models.zoo import PUBLISHED, parse_name

LICENSE = "Apache-2.0"
_TABLE_1, _TABLE_3 = "arXiv 2006.10029, Table 1", "arXiv 2006.10029, Table 3"
# Table 3, distilled with 1 % and with 10 % of the labels.
_DISTILLED = {"r50_1x_sk0": (73.9, 77.5), "r50_2x_sk1": (75.9, 80.2), "r152_3x_sk1": (76.6, 80.9)}


@dataclasses.dataclass(frozen=True)
class Category:
    """A folder of the release.

    Attributes:
        name: of the folder.
        mode: the stage that trains such networks.
        recipe: ours with the paper's settings.
        head_layer: layer of the projection head under its classifiers.
        labels: of ImageNet it has learned from.
        probe: whether the classifier has left the network alone.
        step: at which training ended, in the names of the TF1 checkpoints; None where that is not known.
        figure: field of a ModelRecord with the published top-1, or "distilled".
    """

    name: str
    mode: str
    recipe: str
    head_layer: int
    labels: int
    figure: str
    step: int | None = None
    probe: bool = False

    def top1(self, model):
        """(published top-1 as a share, where it is published) of a model's name; twice None of others."""
        if self.figure == "distilled":
            figures = _DISTILLED.get(model, (None, None))
            percent, source = figures[self.name == "distill_10pct"], _TABLE_3
        else:
            percent, source = getattr(PUBLISHED.get(model), self.figure, None), _TABLE_1
        return (None, None) if percent is None else (round(percent / 100, 4), source)


_ALL, _ONE, _TEN = 1_281_167, 12_811, 128_116
CATEGORIES = {
    category.name: category
    for category in (
        Category("pretrained", "pretrain", "imagenet_pretrain", 0, _ALL, "linear", 250_228, probe=True),
        Category("finetuned_1pct", "finetune", "finetune_1pct", 1, _ONE, "finetune_1pct", 751),
        Category("finetuned_10pct", "finetune", "finetune_10pct", 1, _TEN, "finetune_10pct", 3754),
        Category("finetuned_100pct", "finetune", "finetune_100pct", 0, _ALL, "finetune_100pct", 37_535),
        Category("supervised", "supervised", "supervised", 0, _ALL, "supervised", 28_151),
        Category("distill_1pct", "distill", "distill_small", 0, _ONE, "distilled"),
        Category("distill_10pct", "distill", "distill_small", 0, _TEN, "distilled"),
    )
}
# Not within other words, such as unsupervised or self-supervised.
_NAMED = re.compile(rf"(?<![A-Za-z_-])({'|'.join(CATEGORIES)})(?![A-Za-z0-9])")
_STEP = re.compile(r"model\.ckpt-(\d+)$")
_MODEL = re.compile(r"(?<![A-Za-z0-9])(r\d+_\d+(?:\.\d+)?x_sk[01])(?![A-Za-z0-9])")


def category_of(path, head_layer=None):
    """The Category that a path names, or the step at the end of a TF1 checkpoint's name; None where neither does.

    Args:
        path: of the checkpoint. head_layer: the layer under the classifier, where it is known: it decides between the
            two where only one of them has it.

    Raises:
        InputError: the two are not trained alike, and `head_layer` does not decide: folders are called "pretrained" or
            "supervised" for other reasons, and with a classifier on another layer nearly every answer is wrong.
    """
    words, step = _NAMED.findall(str(path)), _STEP.search(str(path))
    named = CATEGORIES[words[-1]] if words else None
    ends = {category.step: category for category in CATEGORIES.values() if category.step}
    ended = ends.get(int(step[1])) if step else None
    if named is None or ended is None:
        return named or ended
    if (named.mode, named.head_layer) == (ended.mode, ended.head_layer):
        return named
    decided = [category for category in (named, ended) if category.head_layer == head_layer]
    if len(decided) == 1:
        return decided[0]
    layers = f", or head_layer={named.head_layer} or {ended.head_layer}"
    raise InputError(
        f"{path} is {named.name} by its folder, but {ended.name} by its step {ended.step}: give --name (name=) "
        f"{named.name} or {ended.name}{layers if named.head_layer != ended.head_layer else ''}."
    )


def model_in(path):
    """The last name of a model, such as r50_1x_sk0, in a path; None where there is none."""
    named = _MODEL.findall(str(path))
    return named[-1] if named else None


def read_name(name):
    """Returns (Category or None, name of a model or None) from "r50_1x_sk0", "finetuned_1pct" or both with a slash.

    Raises:
        InputError: it is none of these.
    """
    if name is None:
        return None, None
    first, _, second = str(name).rpartition("/")
    if second in CATEGORIES and not first:
        return CATEGORIES[second], None
    if first and first not in CATEGORIES:
        raise InputError(f"name={name}: {first!r} is none of {', '.join(CATEGORIES)}.")
    parse_name(second)
    return CATEGORIES.get(first), second
