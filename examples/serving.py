"""Serve an export with TensorFlow Serving, and send a request to it. The client needs only Python.

    simclr export --run=runs/photos-classifier --out=exports/photos --decode_images
    python examples/serving.py --export=exports/photos --show_command      # prints the docker command; run it
    python examples/serving.py --export=exports/photos photo.jpg           # sends a request

Files are sent unchanged to a signature NAME_from_bytes (export.py --decode_images): the server decodes, crops and
resizes them. For exports without these signatures, --floats does the evaluation preprocessing here, with this package,
and sends numbers in [0, 1], some 40 times as many bytes.

Tested: this client, against a small server that implements the documented REST API of TensorFlow Serving and calls the
signatures of the export. Not tested: the docker command, and TensorFlow Serving itself.
"""

import argparse
import base64
import json
import math
import os
import pathlib
import re
import shlex
import sys
import urllib.error
import urllib.request

PORT = 8501


def serving_command(export: str, name: str) -> str:
    """Return the docker command that serves an export under a name, as version 1."""
    mount = f"type=bind,source={os.path.abspath(export)},target=/models/{name}/1,readonly"
    words = ["docker", "run", "--rm", "-p", f"{PORT}:8501", "--mount", mount, "-e", f"MODEL_NAME={name}"]
    return shlex.join([*words, "tensorflow/serving"])


def request_body(
    paths: list[str], signature: str, image_size: int | None = None, antialias: bool = False
) -> str:
    """Return the JSON of a request: unchanged files, or pixels if there is an image size.

    Args:
        paths: image files. signature: name of one: logits, or logits_from_bytes for unchanged files.
        image_size: side in pixels to which the images are resized here; None sends the files.
        antialias: whether that antialiases images that shrink.
    """
    if image_size is None:
        instances = [{"b64": base64.b64encode(pathlib.Path(path).read_bytes()).decode()} for path in paths]
    else:
        instances = [pixels_of(path, image_size, antialias).tolist() for path in paths]
    return json.dumps({"signature_name": signature, "instances": instances})


def pixels_of(path: str, image_size: int, antialias: bool = False):
    """Return an image file as the network's input: float32 [image_size, image_size, 3] in [0, 1]."""
    import tensorflow as tf

    # It works without installing the package, too.
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from simclr_keras import preprocess

    image = preprocess.decode(tf.io.read_file(path))
    return preprocess.evaluation_view(image, image_size, antialias=antialias).numpy()


def ask(server: str, name: str, body: str) -> list[list[float]]:
    """Send a request and return the predictions, a list of numbers for each image."""
    url = f"{server}/v1/models/{name}:predict"
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        sys.exit(f"serving: {url} answers {error.code}: {error.read().decode(errors='replace')[:300]}")
    except urllib.error.URLError as error:
        sys.exit(f"serving: no answer from {url} ({error.reason}); start the server, see --show_command.")


def as_text(numbers: list[float], class_names: list[str] | None) -> str:
    """Return the most likely class with its probability; without class names, the first five numbers."""
    if class_names is None or len(class_names) != len(numbers):
        return " ".join(f"{number:.4g}" for number in numbers[:5]) + (" ..." if len(numbers) > 5 else "")
    best = max(range(len(numbers)), key=numbers.__getitem__)
    total = sum(math.exp(number - numbers[best]) for number in numbers)
    return f"{class_names[best]} {1 / total:.1%}"


def main(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("photos", nargs="*", help="image files to classify")
    parser.add_argument("--export", required=True, help="folder that simclr export wrote")
    parser.add_argument("--endpoint", default="logits", help="encoder, proj_head_0 .., logits [logits]")
    parser.add_argument("--server", default=f"http://localhost:{PORT}", help="[http://localhost:8501]")
    parser.add_argument("--floats", action="store_true", help="decode the images here and send numbers")
    parser.add_argument(
        "--show_command", action="store_true", help="print the command that serves the export, and stop"
    )
    flags = parser.parse_args(argv[1:])
    # It stands in the address.
    name = re.sub(r"[^\w.-]+", "_", os.path.basename(os.path.abspath(flags.export)), flags=re.ASCII)
    if flags.show_command:
        print(serving_command(flags.export, name))
        return
    if not flags.photos:
        parser.error("no image file; give one or more, or --show_command")
    try:
        with open(os.path.join(flags.export, "card.json"), encoding="utf-8") as file:
            card = json.load(file)
        size = card["image_size"] if flags.floats else None
        signature = flags.endpoint + ("" if flags.floats else "_from_bytes")
        antialias = bool(card.get("preprocessing", {}).get("antialias"))
        body = request_body(flags.photos, signature, size, antialias)
    except OSError as error:
        sys.exit(f"serving: {error.filename} cannot be read: {error.strerror}")
    names = card.get("class_names") if flags.endpoint == "logits" else None
    for path, numbers in zip(flags.photos, ask(flags.server, name, body)):
        print(f"{path}  {as_text(numbers, names)}")


if __name__ == "__main__":
    main(sys.argv)
