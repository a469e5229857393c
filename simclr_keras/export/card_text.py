"""The card of an export for people: README.md, written from card.json."""

import json

from simclr_keras.export.endpoints import LOGITS
from simclr_keras.export.formats.names import KERAS_FILE, LITERT_FILE, ONNX_FILE

FILE = "README.md"
# Figures of a result in percent; settings worth a line. card.json has all of them.
_SHARES = ("top1", "top5", "best_top1", "knn_top1", "probe_top1", "probe_top5")
_SETTINGS = (
    "dataset",
    "epochs",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "temperature",
    "alpha",
    "head_layer",
    "seed",
)
_LINES = {
    "saved_model": """```python
import tensorflow as tf

images = tf.random.uniform([8, {size}, {size}, 3])  # yours: RGB in [0, 1]
model = tf.saved_model.load({folder})
{endpoint} = model.signatures["{endpoint}"](images=images)["{output}"]
```""",
    "keras": """```python
import keras
import numpy as np
from simclr_keras import SimCLRModel  # so that Keras knows the class

images = np.random.uniform(size=(8, {size}, {size}, 3)).astype("float32")  # yours: RGB in [0, 1]
{endpoint} = keras.models.load_model({keras})(images)["{output}"]
```""",
    "litert": """```python
import numpy as np
from ai_edge_litert.interpreter import Interpreter

images = np.random.uniform(size=(8, {size}, {size}, 3)).astype("float32")  # yours: RGB in [0, 1]
model = Interpreter({litert}).get_signature_runner()
{endpoint} = model(images=images)["{output}"]  # of this shape: LiteRT does not complain of others
```""",
    "onnx": """```python
import numpy as np
import onnxruntime

images = np.random.uniform(size=(8, {size}, {size}, 3)).astype("float32")  # yours: RGB in [0, 1]
model = onnxruntime.InferenceSession({onnx})
{endpoint} = model.run(["{output}"], {{"images": images}})[0]
```""",
}
_PLACES = "Paths are as seen from the folder above this one; what imports simclr_keras needs it installed."
_TRAINING = """To train on: `simclr_keras.HubLayer({folder}, endpoint="{first}")` in Keras 3;
`hub.KerasLayer({folder}, trainable=True, output_key="{output_of_first}")` in tf_keras; without either,
`keras.layers.TFSMLayer({folder}, call_endpoint="{first}", call_training_endpoint="{first}_train")`."""
_PROBE = """The logits are those of an online probe behind a stop-gradient: training on them trains the probe alone.
To fine-tune the network, put a layer of your own on {below}."""


def as_text(card, folder):
    """Returns the text of README.md. card: dict as in card.json. folder: what the export's own is called."""
    parts = [_head(card), _use(card, folder), _images(card), _endpoints(card), _training(card), _files(card)]
    parts += [f"## License\n\n{card['license'] or 'Not stated; `export.py --license=` states one.'}"]
    parts += [
        f"Made with simclr_keras {card['version']}, TensorFlow {card['tensorflow']}, Keras {card['keras']}."
    ]
    return "\n\n".join(parts) + "\n"


def _head(card):
    size, names = card["image_size"], card["class_names"]
    classes = f" Classes, in the order of the logits: {_some(names)}." if names else ""
    return (
        f"# {card['model']}, {card['stage']}\n\n{card['parameters']:,} parameters, of them "
        f"{card['encoder_parameters']:,} in the encoder, trained on images of {size} x {size} pixels.{classes}"
    )


def _use(card, folder):
    formats = {file["format"] for file in card["files"]}
    endpoints = card["endpoints"]
    shown = LOGITS if LOGITS in endpoints else next(iter(endpoints))
    words = {
        "folder": _quoted(folder),
        "keras": _quoted(f"{folder}/{KERAS_FILE}"),
        "litert": _quoted(f"{folder}/{LITERT_FILE}"),
        "onnx": _quoted(f"{folder}/{ONNX_FILE}"),
        "endpoint": shown,
        "output": endpoints[shown]["output"],
        "first": next(iter(endpoints)),
        "output_of_first": endpoints[next(iter(endpoints))]["output"],
        "size": card["image_size"],
    }
    parts = ["## Use", _PLACES, *(text.format(**words) for name, text in _LINES.items() if name in formats)]
    if "saved_model" in formats:
        parts.append(_TRAINING.format(**words))
    if endpoints.get(LOGITS, {}).get("stop_gradient") and formats & {"saved_model", "keras"}:
        others = [f"`{name}`" for name in endpoints if name != LOGITS]
        parts.append(
            _PROBE.format(below=" or ".join(others) or "another endpoint, in an export that has one")
        )
    return "\n\n".join(parts)


def _images(card):
    size, proportion = card["image_size"], card["preprocessing"]["crop_proportion"]
    seen = f"the central {proportion:.1%} of the shorter side" if proportion else "the whole image"
    text = (
        "## Images\n\nRGB, float32 in [0, 1]: divide 8-bit pixels by 255; there is no mean or standard deviation step. "
        f"It was evaluated on {seen}, resized to {size} x {size} (bicubic, no antialiasing)."
    )
    if any(file.get("decode_images") for file in card["files"]):
        text += (
            "\nThe signatures `NAME_from_bytes` do all that: their input `image_bytes` is a batch of JPEG, PNG, BMP "
            'or GIF files, such as `tf.constant([open(name, "rb").read()])`. One that is none of these fails the whole '
            "batch."
        )
    return text


def _endpoints(card):
    rows = ["## Endpoints", "", "| signature | output | shape |", "|---|---|---|"]
    for name, told in card["endpoints"].items():
        shape = ", ".join("n" if size is None else str(size) for size in told["shape"])
        rows.append(f"| `{name}` | `{told['output']}` | [{shape}] |")
    formats = {file["format"] for file in card["files"]}
    if "saved_model" in formats:
        rows += [
            "",
            "The signature `serving_default` gives all of these outputs. Called as a function, "
            "`model(images, training=False)`, the SavedModel gives the feature maps too.",
        ]
    if formats & {"litert", "onnx"}:
        rows += ["", "LiteRT and ONNX models have one function, with all of these outputs."]
    return "\n".join(rows)


def _training(card):
    settings, results = card["training"] or {}, card["results"] or {}
    lines = ["## Training", ""]
    told = [f"{name} {settings[name]}" for name in _SETTINGS if settings.get(name) is not None]
    lines += [f"- settings: {', '.join(told)}"] if told else []
    figures = [f"{name} {results[name]:.1%}" for name in _SHARES if results.get(name) is not None]
    if results.get("top1_interval"):
        figures.append("95 % interval of top1 {:.1%} to {:.1%}".format(*results["top1_interval"]))
    if results.get("imported"):
        lines.append(f"- trained elsewhere, imported from {results['imported_from']}")
    if results.get("published_top1") is not None:
        lines.append(
            f"- published top1 {results['published_top1']:.1%} ({results['published_in']}), not measured here"
        )
    if card["checkpoint"] == "best":
        lines.append(
            f"- weights of step {card['step']}, those of best_top1; the other figures are of the last step"
        )
    if figures:
        lines.append(f"- on {results.get('evaluation_images', 0):,} images: {', '.join(figures)}")
    if not results:
        lines.append("- the run had not ended when this was exported")
    for run in card["ancestors"] or []:
        parts = [f"{run.get('mode')} of {run.get('model')} on {run.get('dataset')}"]
        parts += [f"{run['labels_used']:,} labels"] if run.get("labels_used") else []
        parts += [f"top1 {run['top1']:.1%}"] if run.get("top1") is not None else []
        lines.append(f"- before it: {', '.join(parts)}")
    return "\n".join(lines)


def _files(card):
    lines = ["## Files", ""]
    for file in card["files"]:
        said = [f"within {file['difference']:.1g} of the network on {file['images']} images"]
        said += [f"tolerance {file['tolerance']:.1g}"]
        if file.get("quantization"):
            alike, about_mean = 1 - file["difference"], file["similarity_about_mean"]
            said = [f"{file['quantization']}; on {file['images']} images a cosine similarity of {alike:.3f}"]
            said += [f"{about_mean:.3f} about the mean of all vectors"]
            said += [] if file.get("same_class") is None else [f"{file['same_class']:.1%} keep their class"]
        said += [f"opset {file['opset']}"] if file.get("opset") else []
        told = ", ".join(said)
        lines.append(f"- `{file['file']}`: {told}")
    return "\n".join(lines)


def _quoted(path):
    """A Python literal, in double quotes whatever the path holds."""
    return json.dumps(path, ensure_ascii=False)


def _some(names, most=12):
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more
