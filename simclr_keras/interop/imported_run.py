"""The settings and figures of published weights, as those of a run that was trained elsewhere."""

import dataclasses
from typing import Any

from simclr_keras.config.classify import finetuning_rate
from simclr_keras.config.modes import make_config
from simclr_keras.config.recipes import recipe
from simclr_keras.errors import InputError
from simclr_keras.interop.categories import CATEGORIES, LICENSE
from simclr_keras.interop.published import Published
from simclr_keras.models.zoo import PUBLISHED
from simclr_keras.version import __version__

IMAGENET, IMAGENET_CLASSES = "imagenet2012", 1000
_LARGEST_TEACHER = "r152_3x_sk1"  # of Table 3's smaller students


@dataclasses.dataclass(frozen=True)
class ImportedRun:
    """What a run directory of published weights contains beside them.

    Attributes:
        config: of its stage. result: content of result.json.
    """

    config: Any
    result: dict


def make(
    published: Published, model_dir: str, dataset: str = IMAGENET, origin: str = "simclrv2/"
) -> ImportedRun:
    """Return the ImportedRun of a Published.

    Args:
        model_dir: run directory, or what stands for it. dataset: what the network was trained on.
        origin: what comes before CATEGORY/MODEL in the addresses of the runs that it started from.

    Raises:
        InputError: the kind of network is not known, or does not suit the dataset.
    """
    category, architecture = published.category, published.architecture
    classes = architecture["num_classes"]
    if category is None:
        raise InputError(
            f"{published.source.path} does not say what kind of network it is; give it by --name: "
            f"{', '.join(CATEGORIES)}."
        )
    if dataset == IMAGENET and classes not in (None, IMAGENET_CLASSES):
        raise InputError(
            f"{published.source.path} has {classes} classes, and {IMAGENET} {IMAGENET_CLASSES}; say by --dataset what "
            "it was trained on, such as --dataset=cifar10."
        )
    if classes is None and category.mode != "pretrain":
        raise InputError(
            f"{published.source.path} has no classifier, as a {category.name} network has; give --name=pretrained."
        )
    config = _config(published, model_dir, dataset, origin)
    return ImportedRun(config, _result(published, config))


def _config(published, model_dir, dataset, origin):
    """Return the published settings of such a network; our defaults for those that are not published."""
    category, architecture = published.category, published.architecture
    name = architecture["name"]
    own = {
        "model_dir": str(model_dir),
        "dataset": dataset,
        "model": name,
        "image_size": architecture["image_size"],
        "precision": "float32",
    }
    if category.mode == "pretrain":
        own |= {key: architecture[key] for key in ("se_ratio", "proj_mode", "proj_hidden_dim")}
        own |= {key: architecture[key] for key in ("proj_layers", "proj_dim") if key in architecture}
    elif category.mode == "finetune":
        own |= {"init": f"{origin}pretrained/{name}", "head_layer": architecture["head_layer"]}
        own["learning_rate"] = finetuning_rate(name)
    elif category.mode == "distill":
        teacher = "finetuned" if name == _LARGEST_TEACHER else "distill"
        share = category.name.rpartition("_")[2]
        own |= {
            "teacher": f"{origin}{teacher}_{share}/{_LARGEST_TEACHER}",
            "se_ratio": architecture["se_ratio"],
        }
    settings = recipe(
        "distill_self" if name == _LARGEST_TEACHER and category.mode == "distill" else category.recipe,
        category.mode,
    )
    return make_config(category.mode, settings, own)


def _result(published, config):
    category, architecture, source = published.category, published.architecture, published.source
    result = {
        "mode": config.NAME,
        "finished": True,
        "imported": True,
        "imported_from": "/".join(source.prefix.removesuffix("/variables/variables").split("/")[-3:]),
        "imported_format": source.form.NAME,
        "settings": f"not of this run, but published for {category.name} networks, as far as they are",
        "moving_average": published.ema,
        "version": __version__,
        "model": config.model,
        "parameters": published.encoder_parameters,
        "dataset": config.dataset,
        "image_size": config.image_size,
        "epochs": config.epochs,
        "seed": None,
        "ancestors": [],
    }
    step = source.step()
    result |= {} if not step else {"step": step}
    if architecture["num_classes"] is not None:
        result |= {"classes": architecture["num_classes"], "head_layer": architecture["head_layer"]}
    if config.dataset == IMAGENET:
        top1, where = category.top1(config.model)
        # A pretrained network has learned from no labels; its probe has, from all.
        result |= {} if category.probe else {"labels_used": category.labels}
        result |= {"license": LICENSE} if config.model in PUBLISHED else {}
        if top1 is not None and architecture["num_classes"] is not None and not published.ema:
            result |= {"published_top1": top1, "published_in": where}
    return result


def described(run: ImportedRun) -> str:
    """Return one line on an ImportedRun."""
    result = run.result
    text = f"--mode={result['mode']} on {result['dataset']}, images of {result['image_size']} pixels"
    if "classes" in result:
        text += f", {result['classes']} classes on layer {result['head_layer']} of the projection head"
    if "published_top1" in result:
        text += f"; published top-1 {result['published_top1']:.1%} ({result['published_in']})"
    return text
