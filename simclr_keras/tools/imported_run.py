"""The run directory of published weights: the settings and figures of a training done elsewhere."""

import dataclasses

import tensorflow as tf

from simclr_keras.config.classify import finetuning_rate
from simclr_keras.config.modes import make_config
from simclr_keras.config.recipes import recipe
from simclr_keras.errors import InputError, one_line
from simclr_keras.files import expand_home, whole_folder
from simclr_keras.interop.categories import CATEGORIES, LICENSE
from simclr_keras.models.zoo import PUBLISHED
from simclr_keras.runs import ancestors
from simclr_keras.runs.architecture import Architecture
from simclr_keras.runs.checkpoints import Checkpoints, state_of_model
from simclr_keras.runs.records import SplitRecord
from simclr_keras.runs.run_dir import RunDir
from simclr_keras.version import __version__

IMAGENET, IMAGENET_CLASSES = "imagenet2012", 1000
_LARGEST_TEACHER = "r152_3x_sk1"  # of Table 3's smaller students


@dataclasses.dataclass(frozen=True)
class ImportedRun:
    """The content of the run directory.

    Attributes:
        config: of its stage. result: content of result.json. class_names: list, or None.
    """

    config: object
    result: dict
    class_names: list | None


def make(published, out, dataset, class_names_file):
    """Return the ImportedRun of a Published.

    Args:
        published: Published. out: run directory. dataset: what it was trained on.
        class_names_file: path of a text file, or None.

    Raises:
        InputError: the kind of network is not known, or does not suit the dataset; the names are not as many as the
            classes.
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
    class_names = read_class_names(class_names_file, classes)
    config = _config(published, out, dataset)
    return ImportedRun(config, _result(published, config), class_names)


def _config(published, out, dataset):
    """Return the published settings of such a network; our defaults for those that are not published."""
    category, architecture = published.category, published.architecture
    name = architecture["name"]
    own = {
        "model_dir": str(out),
        "dataset": dataset,
        "model": name,
        "image_size": architecture["image_size"],
        "precision": "float32",
    }
    if category.mode == "pretrain":
        own |= {key: architecture[key] for key in ("se_ratio", "proj_mode", "proj_hidden_dim")}
        own |= {key: architecture[key] for key in ("proj_layers", "proj_dim") if key in architecture}
    elif category.mode == "finetune":
        own |= {"init": f"simclrv2/pretrained/{name}", "head_layer": architecture["head_layer"]}
        own["learning_rate"] = finetuning_rate(name)
    elif category.mode == "distill":
        teacher = "finetuned" if name == _LARGEST_TEACHER else "distill"
        share = category.name.rpartition("_")[2]
        own |= {
            "teacher": f"simclrv2/{teacher}_{share}/{_LARGEST_TEACHER}",
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
        "imported_from": "/".join(source.prefix.split("/")[-3:]),
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


def described(run):
    """Return one line on an ImportedRun."""
    result = run.result
    text = f"--mode={result['mode']} on {result['dataset']}, images of {result['image_size']} pixels"
    if "classes" in result:
        text += f", {result['classes']} classes on layer {result['head_layer']} of the projection head"
    if "published_top1" in result:
        text += f"; published top-1 {result['published_top1']:.1%} ({result['published_in']})"
    return text


def read_class_names(path, classes):
    """Return the lines of a text file, or None without a path.

    Args:
        path: of the file, or None. classes: the number of names, None if there is no classifier.

    Raises:
        InputError: it is unreadable, or has another number of lines.
    """
    if not path:
        return None
    try:
        with tf.io.gfile.GFile(expand_home(path), "rb") as file:
            names = file.read().decode("utf-8-sig").split("\n")
    except (tf.errors.OpError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--class_names={path} cannot be read ({one_line(error)}); give a text file."
        ) from error
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    if classes is None:
        raise InputError(f"--class_names={path}, but the network has no classifier; leave it out.")
    if len(names) != classes or not all(names):
        empty = " with empty ones among them" if not all(names) else ""
        raise InputError(
            f"--class_names={path} has {len(names)} lines{empty}, but there are {classes} classes; give a name for "
            "each."
        )
    return names


def check_out(path, overwrite):
    """Raise InputError if the run directory exists and may not be replaced, or is not an imported one."""
    run_dir = RunDir(path, "out")
    run_dir.check_path()
    if not tf.io.gfile.exists(run_dir.path) or not tf.io.gfile.listdir(run_dir.path):
        return
    try:
        result = run_dir.read_result()
        is_imported = result and result.imported and run_dir.read_config()
    except InputError:
        is_imported = False
    if not is_imported:
        raise InputError(f"--out={path} contains other things than an imported run; give another folder.")
    if not overwrite:
        raise InputError(
            f"--out={path} contains an imported run already; give another folder, or --overwrite."
        )


def write(run, published, out, overwrite=False):
    """Write the run directory: under another name first, and renamed once it is complete.

    Raises:
        InputError: an array cannot be read, or the folder cannot be made. TrainingError: it cannot be written.
    """
    with whole_folder(out, lambda path: check_out(path, overwrite)) as partial:
        run_dir = RunDir(partial, "out")
        place = ancestors.place_of(run.config.dataset)
        run_dir.bind(run.config.NAME, run.config, ancestors=[], place=place)
        run_dir.write_split(SplitRecord(class_names=run.class_names))
        run_dir.write_architecture(Architecture(**published.architecture))
        state = state_of_model(published.load())
        tf.io.gfile.makedirs(run_dir.checkpoints)
        Checkpoints(run_dir.checkpoints, state, keep=1).save(run.result.get("step", 1))
        run_dir.write_result(run.result)
