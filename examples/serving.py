"""Serving: an export under TensorFlow Serving, and a request to it. The client takes Python alone.

    python export.py --run=runs/photos-classifier --out=exports/photos --decode_images
    python examples/serving.py --export=exports/photos --show_command      # prints the docker command: run it
    python examples/serving.py --export=exports/photos photo.jpg           # asks the server

The files are sent as they are, to a signature NAME_from_bytes (export.py --decode_images): the server decodes, crops
and resizes them. For exports without these, --floats decodes here, with the evaluation preprocessing of this package,
and sends numbers in [0, 1], some 40 times as many bytes.

What was run: this client, against a stand-in that reads the JSON as the documentation of TensorFlow Serving's REST API
says and calls the export's signatures. What was not: the docker command, and TensorFlow Serving itself.
"""

import argparse
import base64
import json
import math
import os
import pathlib
import shlex
import sys
import urllib.error
import urllib.request

PORT = 8501


def serving_command(export, name):
    """The command that serves an export under a name: TensorFlow Serving wants it in a folder with a version number."""
    mount = f"type=bind,source={os.path.abspath(export)},target=/models/{name}/1,readonly"
    words = ["docker", "run", "--rm", "-p", f"{PORT}:8501", "--mount", mount, "-e", f"MODEL_NAME={name}"]
    return shlex.join([*words, "tensorflow/serving"])


def request_body(paths, signature, image_size=None):
    """The JSON of a request: files as they are, or as numbers where an image size is given.

    Args:
        paths: image files. signature: name of one: logits, or logits_from_bytes for files as they are.
        image_size: side in pixels that the images are brought to here; None sends the files.
    """
    if image_size is None:
        instances = [{"b64": base64.b64encode(pathlib.Path(path).read_bytes()).decode()} for path in paths]
    else:
        instances = [pixels_of(path, image_size).tolist() for path in paths]
    return json.dumps({"signature_name": signature, "instances": instances})


def pixels_of(path, image_size):
    """What the network is to see of an image file: float32 [image_size, image_size, 3] in [0, 1]."""
    import tensorflow as tf

    sys.path.insert(
        0, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    )  # without installing it, too
    from simclr_keras import preprocess

    return preprocess.evaluation_view(preprocess.decode(tf.io.read_file(path)), image_size).numpy()


def ask(server, name, body):
    """Sends a request and returns the predictions: a list of numbers for each image."""
    url = f"{server}/v1/models/{name}:predict"
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["predictions"]
    except urllib.error.HTTPError as error:
        sys.exit(f"serving: {url} answers {error.code}: {error.read().decode(errors='replace')[:300]}")
    except urllib.error.URLError as error:
        sys.exit(
            f"serving: there is no answer from {url} ({error.reason}); start the server, see --show_command."
        )


def told(numbers, class_names):
    """The likeliest class with its probability, or the first few numbers where these are no logits of known classes."""
    if class_names is None or len(class_names) != len(numbers):
        return " ".join(f"{number:.4g}" for number in numbers[:5]) + (" ..." if len(numbers) > 5 else "")
    best = max(range(len(numbers)), key=numbers.__getitem__)
    total = sum(math.exp(number - numbers[best]) for number in numbers)
    return f"{class_names[best]} {1 / total:.1%}"


def main(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("photos", nargs="*", help="image files to ask about")
    parser.add_argument("--export", required=True, help="folder that export.py wrote")
    parser.add_argument("--endpoint", default="logits", help="encoder, proj_head_0 .., logits [logits]")
    parser.add_argument("--server", default=f"http://localhost:{PORT}", help="[http://localhost:8501]")
    parser.add_argument("--floats", action="store_true", help="decode the images here and send numbers")
    parser.add_argument(
        "--show_command", action="store_true", help="print how to serve the export, and ask nothing"
    )
    given = parser.parse_args(argv[1:])
    name = os.path.basename(os.path.abspath(given.export))
    if given.show_command:
        print(serving_command(given.export, name))
        return
    if not given.photos:
        parser.error("no image file is given: name some, or --show_command")
    try:
        with open(os.path.join(given.export, "card.json"), encoding="utf-8") as file:
            card = json.load(file)
        size = card["image_size"] if given.floats else None
        body = request_body(given.photos, given.endpoint + ("" if given.floats else "_from_bytes"), size)
    except OSError as error:
        sys.exit(f"serving: {error.filename} cannot be read: {error.strerror}")
    names = card.get("class_names") if given.endpoint == "logits" else None
    for path, numbers in zip(given.photos, ask(given.server, name, body)):
        print(f"{path}  {told(numbers, names)}")


if __name__ == "__main__":
    main(sys.argv)
