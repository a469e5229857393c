"""README.md, the card of an export for people, made from card.json."""

import json

from simclr_keras.config.export import KERAS, LITERT, ONNX, SAVED_MODEL
from simclr_keras.export.endpoints import LOGITS, OF_CLASSES, PROBABILITIES
from simclr_keras.export.formats.names import CLASS_NAMES, KERAS_FILE, LITERT_FILE, ONNX_FILE
from simclr_keras.export.preparation import images_section

FILE = "README.md"
# Results in percent, and settings; card.json has all of them.
_SHARES = ("top1", "top5", "balanced_accuracy", "best_top1", "knn_top1", "probe_top1", "probe_top5")
_SETTINGS = ("dataset", "epochs", "steps", "batch_size", "microbatch_size", "optimizer", "learning_rate")
_SETTINGS += ("weight_decay", "temperature", "memory", "memory_size", "ema_decay", "alpha", "head_layer")
_SETTINGS += ("seed",)
_CODE = {
    SAVED_MODEL: """```python
import tensorflow as tf

images = tf.random.uniform([8, {size}, {size}, 3])  # yours: RGB in [0, 1]
model = tf.saved_model.load({folder})
{endpoint} = model.signatures["{endpoint}"](images=images)["{output}"]
```""",
    KERAS: """```python
import keras
import numpy as np
from simclr_keras import SimCLRModel  # registers the class with Keras

images = np.random.uniform(size=(8, {size}, {size}, 3)).astype("float32")  # yours: RGB in [0, 1]
{endpoint} = keras.models.load_model({keras})(images)["{output_of_keras}"]
```""",
    LITERT: """```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

images = np.random.uniform(size=(8, {size}, {size}, 3)).astype("float32")  # yours: RGB in [0, 1]
model = Interpreter({litert}).get_signature_runner()
{endpoint} = model(images=images)["{output}"]  # exactly this shape: LiteRT does not report others
```""",
    ONNX: """```python
import numpy as np
import onnxruntime

images = np.random.uniform(size=(8, {size}, {size}, 3)).astype("float32")  # yours: RGB in [0, 1]
model = onnxruntime.InferenceSession({onnx})
{endpoint} = model.run(["{output}"], {{"images": images}})[0]
```""",
}
# Where a program reads the names of the classes, beside class_names.txt.
_NAMES_IN = {
    SAVED_MODEL: "- SavedModel: the file `model.class_names.asset_path.numpy()`",
    KERAS: "- Keras: `keras.models.load_model({keras}).class_names`",
    LITERT: "- LiteRT: `zipfile.ZipFile({litert}).read({file}).decode().splitlines()`",
    ONNX: '- ONNX: `model.get_modelmeta().custom_metadata_map["class_names"].splitlines()`',
}
_PATHS = "Paths start in the folder above this one; code that imports simclr_keras needs it installed."
_TRAINING = """To fine-tune: `simclr_keras.HubLayer({folder}, endpoint="{first}")` in Keras 3;
`hub.KerasLayer({folder}, trainable=True, output_key="{output_of_first}")` in tf_keras; without these packages,
`keras.layers.TFSMLayer({folder}, call_endpoint="{first}", call_training_endpoint="{first}_train")`. TFSMLayer trains
with every optimizer after `model.optimizer.build(model.trainable_variables)`, between `compile` and `fit`; without this
line, only with plain SGD."""
_PROBE = """The logits are those of an online probe after a stop-gradient: training with them trains only the probe.
To fine-tune the network, add your own layer to {below}."""

_PROBE_OF_OTHER = (
    "The probe was trained on the features of the trained network, not on those of the momentum network."
)


def as_text(card: dict, folder: str) -> str:
    """Return the text of README.md. card: content of card.json. folder: name of the export's folder."""
    words = _words(card, folder)
    parts = [_head(card), _use(card, words), *_classes(card, words), images_section(card)]
    parts += [_endpoints(card), _training(card), _files(card)]
    parts += [f"## License\n\n{card['license'] or 'Not stated; set it with `simclr export --license=`.'}"]
    parts += [
        f"Made with simclr_keras {card['version']}, TensorFlow {card['tensorflow']}, Keras {card['keras']}."
    ]
    return "\n\n".join(parts) + "\n"


def _head(card):
    size = card["image_size"]
    return (
        f"# {card['model']}, {card['stage']}\n\n{card['parameters']:,} parameters, "
        f"{card['encoder_parameters']:,} of them in the encoder, trained on images of {size} x {size} pixels."
    )


def _words(card, folder):
    """Return what the texts name: paths as Python literals, endpoints and sizes."""
    endpoints = card["endpoints"]
    first = next(iter(endpoints))
    shown = LOGITS if LOGITS in endpoints else first
    return {
        "folder": _quoted(folder),
        "keras": _quoted(f"{folder}/{KERAS_FILE}"),
        "litert": _quoted(f"{folder}/{LITERT_FILE}"),
        "onnx": _quoted(f"{folder}/{ONNX_FILE}"),
        "endpoint": shown,
        "output": endpoints[shown]["output"],
        "output_of_keras": LOGITS if shown == PROBABILITIES else endpoints[shown]["output"],
        "first": first,
        "output_of_first": endpoints[first]["output"],
        "size": card["image_size"],
        "file": _quoted(CLASS_NAMES),
    }


def _use(card, words):
    formats, endpoints = {file["format"] for file in card["files"]}, card["endpoints"]
    parts = ["## Use", _PATHS, *(code.format(**words) for name, code in _CODE.items() if name in formats)]
    if SAVED_MODEL in formats:
        parts.append(_TRAINING.format(**words))
    is_probe = any(endpoint.get("stop_gradient") for endpoint in endpoints.values())
    if is_probe and formats & {SAVED_MODEL, KERAS}:
        others = [f"`{name}`" for name in endpoints if name not in OF_CLASSES]
        text = _PROBE.format(below=" or ".join(others) or "another endpoint, in an export that has one")
        parts.append(f"{text}\n{_PROBE_OF_OTHER}" if card.get("ema") else text)
    return "\n\n".join(parts)


def _classes(card, words):
    """Return the section on the classes, in a list; an empty list if they have no names or are not exported."""
    names, formats = card["class_names"], {file["format"] for file in card["files"]}
    if not names or {*OF_CLASSES}.isdisjoint(card["endpoints"]):
        return []
    order = f"in the order of the logits and probabilities, and of the lines of `{CLASS_NAMES}`"
    text = f"## Classes\n\nThe {len(names)} classes, {order}:"
    # Indented: whatever a name contains, it is shown as it is.
    lines = [f"    {number}  {' '.join(str(name).split())}" for number, name in enumerate(names)]
    places = [place.format(**words) for kind, place in _NAMES_IN.items() if kind in formats]
    return ["\n\n".join([text, "\n".join(lines), "The names are in the files, too:\n\n" + "\n".join(places)])]


def _endpoints(card):
    rows = ["## Endpoints", "", "| signature | output | shape |", "|---|---|---|"]
    for name, endpoint in card["endpoints"].items():
        shape = ", ".join("n" if size is None else str(size) for size in endpoint["shape"])
        rows.append(f"| `{name}` | `{endpoint['output']}` | [{shape}] |")
    formats = {file["format"] for file in card["files"]}
    if SAVED_MODEL in formats:
        rows += [
            "",
            "The signature `serving_default` returns all of these outputs. Called as a function, "
            "`model(images, training=False)`, the SavedModel also returns the feature maps.",
        ]
    if formats & {LITERT, ONNX}:
        rows += ["", "LiteRT and ONNX models have one function that returns all of these outputs."]
    if PROBABILITIES in card["endpoints"]:
        rows += ["", f"`{PROBABILITIES}` is the softmax of the logits, in float32.{_without_softmax(card)}"]
    return "\n".join(rows)


def _without_softmax(card):
    """Return a sentence on the files that have logits but no probabilities; empty if there is none."""
    files = [
        f"`{file['file']}`" for file in card["files"] if file["format"] == KERAS or file.get("quantization")
    ]
    return f" In {' and '.join(files)}, apply it to the logits yourself." if files else ""


def _training(card):
    settings, results = card["training"] or {}, card["results"] or {}
    if settings.get("train_steps") is not None and settings["train_steps"] == results.get("step"):
        settings = {**settings, "epochs": None, "steps": results["step"]}  # it had fewer epochs
    if settings.get("memory") == "none":
        settings = {**settings, "memory": None, "memory_size": None, "ema_decay": None}
    if not settings.get("microbatch_size"):
        settings = {**settings, "microbatch_size": None}
    lines = ["## Training", ""]
    named = [f"{name} {settings[name]}" for name in _SETTINGS if settings.get(name) is not None]
    lines += [f"- settings: {', '.join(named)}"] if named else []
    figures = [f"{name} {results[name]:.1%}" for name in _SHARES if results.get(name) is not None]
    if results.get("top1_interval"):
        figures.append("95 % confidence interval of top1 {:.1%} to {:.1%}".format(*results["top1_interval"]))
    if results.get("imported"):
        lines.append(f"- trained elsewhere, imported from {results['imported_from']}")
    if results.get("published_top1") is not None:
        lines.append(
            f"- published top1 {results['published_top1']:.1%} ({results['published_in']}), not measured here"
        )
    if card.get("ema"):
        lines.append(
            "- the weights are those of the momentum network, an average over training; the results below were "
            "measured with the trained network instead"
        )
    if card["checkpoint"] == "best":
        lines.append(
            f"- weights of step {card['step']}, with best_top1; the other results are of the last step"
        )
    if figures:
        precision = results.get("precision", "float32")
        other = "" if precision == "float32" else f", measured in {precision} (exports compute in float32)"
        lines.append(f"- on {results.get('evaluation_images', 0):,} images{other}: {', '.join(figures)}")
    lines += [f"- warning: {warning}" for warning in results.get("warnings", [])]
    if not results:
        lines.append("- the run was not finished when this was exported")
    for run in card["ancestors"] or []:
        parts = [f"{run.get('mode')} of {run.get('model')} on {run.get('dataset')}"]
        parts += [f"{run['labels_used']:,} labels"] if run.get("labels_used") else []
        parts += [f"top1 {run['top1']:.1%}"] if run.get("top1") is not None else []
        lines.append(f"- earlier run: {', '.join(parts)}")
    return "\n".join(lines)


def _files(card):
    lines = ["## Files", ""]
    for file in card["files"]:
        facts = [f"within {file['difference']:.1g} of the network on {file['images']} images"]
        facts += [f"tolerance {file['tolerance']:.1g}"]
        if file.get("quantization"):
            similarity, about_mean = 1 - file["difference"], file["similarity_about_mean"]
            facts = [
                f"{file['quantization']}; on {file['images']} images a cosine similarity of {similarity:.3f}"
            ]
            facts += [f"{about_mean:.3f} after subtracting the mean of all vectors"]
            facts += [] if file.get("same_class") is None else [f"{file['same_class']:.1%} keep their class"]
        facts += [f"opset {file['opset']}"] if file.get("opset") else []
        lines.append(f"- `{file['file']}`: {', '.join(facts)}")
    return "\n".join(lines)


def _quoted(path):
    """Return a Python literal in double quotes, whatever characters the path contains."""
    return json.dumps(path, ensure_ascii=False)
