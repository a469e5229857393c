"""The variables of a TF2 SavedModel of the release: resnet/block_group1/bottleneck_block/.../conv2d_7/kernel.

The values lie in variables/ under object paths that say nothing; the names are in saved_model.pb. Both hold the same
tree of objects, which is walked from the root: no function of the model needs to be loaded.

The suffixes depend on what else the process had made before, so only their order counts.
"""

import re

from simclr_keras.errors import InputError
from simclr_keras.interop.keys import ROLES, Entry, Sorted, fits, number, of_one_head
from simclr_keras.interop.layers import CLASSIFIER, CONV, HEAD_DENSE, HEAD_NORM, NORM

NAME = "TF2 SavedModel"
_NORM = r"(?:sync_)?batch_normalization(?:_\d+)?"
_ENCODER = re.compile(
    r"resnet/(?:block_group([1-4])/(?:residual|bottleneck)_block(?:_(\d+))?/)?"
    r"(?:sk__conv2d(?:_\d+)?/|se__layer(?:_\d+)?/)?"
    r"((?:conv2d_fixed_padding|batch_norm_relu)(?:_(\d+))?/)?"
    rf"(conv2d|(?:sync_)?batch_normalization)(?:_(\d+))?/{ROLES}"
)
_HEAD = re.compile(rf"projection_head/(nl_\d+|l_0)/(dense(?:_\d+)?|batch_norm_relu(?:_\d+)?/{_NORM})/{ROLES}")
_CLASSIFIER = re.compile(r"head_supervised/linear_layer/dense(?:_\d+)?/(kernel|bias)")


def sort_keys(shapes: dict, ema: bool = False) -> Sorted:
    """Return the Sorted of the names of the variables; this format has no moving average for `ema`."""
    result = Sorted([], {}, [])
    for key in sorted(shapes):
        entry = _entry(key.removesuffix(":0"), key)
        if entry is None:
            result.unknown.append(key)
        else:
            result.entries.append(entry)
    return of_one_head(result)


def _entry(name, key):
    if match := _ENCODER.fullmatch(name):
        group, block, wrapped, wrapper, layer, suffix, role = match.groups()
        kind = CONV if layer == "conv2d" else NORM
        within = (int(group or 0), number(block), number(wrapper) if wrapped else None)
        return Entry(kind, number(suffix), role, key, int(group or 0), within) if fits(kind, role) else None
    if match := _HEAD.fullmatch(name):
        kind, role = (HEAD_DENSE if match[2].startswith("dense") else HEAD_NORM), match[3]
        return Entry(kind, int(match[1].rpartition("_")[2]), role, key) if fits(kind, role) else None
    if match := _CLASSIFIER.fullmatch(name):
        return Entry(CLASSIFIER, 0, match[1], key)
    return None


def numberings(entries: list, layers: tuple) -> list[dict]:
    """Return the ways to read the suffixes of one kind as indices into its layers.

    By order, whatever the numbers, if there are as many as there should be. If that does not fit, they are taken to
    be without gaps but for what is missing, which may be at either end; so that it can be named.
    """
    places = sorted({entry.place for entry in entries})
    if not places or not layers or not layers[0].path:
        return [{place: place for place in places}]
    by_order = [{place: index for index, place in enumerate(places)}] if len(places) == len(layers) else []
    first = sorted({places[0], places[-1] - len(layers) + 1})
    return by_order + [{place: place - start for place in places} for start in first]


def checkpoint_keys(path: str) -> dict[str, str]:
    """Return a dict of the names of a SavedModel's variables to their keys in its variables/.

    Raises:
        InputError: it is damaged, its variables have no object graph, or two of them have one name.
    """
    # Late, here and elsewhere: keys can be sorted without TensorFlow.
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2, trackable_object_graph_pb2

    from simclr_keras.errors import one_line
    from simclr_keras.interop.tf2_checkpoint import GRAPH

    file = f"{path}/saved_model.pb"
    saved, stored = saved_model_pb2.SavedModel(), trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        with tf.io.gfile.GFile(file, "rb") as opened:
            saved.ParseFromString(opened.read())
        reader = tf.compat.v1.train.NewCheckpointReader(f"{path}/variables/variables")
        stored.ParseFromString(reader.get_tensor(GRAPH))
    except (DecodeError, tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({one_line(error)}); fetch it again.") from error
    named = saved.meta_graphs[0].object_graph_def.nodes if saved.meta_graphs else []
    if not named:
        raise InputError(f"{file} holds no objects; give a TF2 SavedModel, or a checkpoint.")
    return _walk(named, stored.nodes, path)


def _walk(named, stored, path):
    keys, seen, waiting = {}, {0}, [(0, 0)]
    while waiting:
        here, there = waiting.pop()
        node = named[here]
        values = [attribute.checkpoint_key for attribute in stored[there].attributes]
        if node.HasField("variable") and values:
            name = node.variable.name
            if name in keys:
                raise InputError(
                    f"{path} holds two variables named {name}; give a SavedModel of the release."
                )
            keys[name] = values[0]
        children = {child.local_name: child.node_id for child in stored[there].children}
        for child in node.children:
            if child.node_id not in seen and child.local_name in children:
                seen.add(child.node_id)
                waiting.append((child.node_id, children[child.local_name]))
    return keys
