"""A stand-in for TensorFlow Serving: a SavedModel behind its REST API, as its documentation describes that.

It differs from the real server in everything but the JSON: https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import contextlib
import http.server
import json

import tensorflow as tf

from tests.http_server import answering


def _value(given):
    """A JSON value as a tensor's: {"b64": ...} stands for bytes, lists are nested tensors."""
    if isinstance(given, dict):
        assert list(given) == ["b64"]
        return base64.b64decode(given["b64"], validate=True)
    return [_value(item) for item in given] if isinstance(given, list) else given


def predict(signatures, body):
    """The answer to a predict request in row format."""
    signature = signatures[body.get("signature_name", "serving_default")]
    _, inputs = signature.structured_input_signature
    ((name, spec),) = inputs.items()  # of a single input the name is left out
    found = signature(**{name: tf.constant(_value(body["instances"]), spec.dtype)})
    found = {key: value.numpy().tolist() for key, value in found.items()}
    if len(found) == 1:  # of a single output too
        return {"predictions": next(iter(found.values()))}
    return {"predictions": [dict(zip(found, row)) for row in zip(*found.values())]}


@contextlib.contextmanager
def serving(path, name):
    """Serves the SavedModel in a folder under a name; gives (URL of the server, list of the bodies it got)."""
    signatures, bodies = tf.saved_model.load(str(path)).signatures, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            if self.path != f"/v1/models/{name}:predict":
                code, answer = 404, {"error": f"Servable not found for request: Latest({name})"}
            elif body.get("signature_name") not in signatures:
                code, answer = (
                    400,
                    {"error": f"Serving signature key {body.get('signature_name')!r} not found."},
                )
            else:
                code, answer = 200, predict(signatures, body)
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    with answering(Handler) as address:
        yield address, bodies
