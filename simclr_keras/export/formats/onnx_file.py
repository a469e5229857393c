"""Write a network as an ONNX model, and compare it with the network in onnxruntime."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from simclr_keras import packages
from simclr_keras.errors import one_line
from simclr_keras.export.endpoints import IMAGES
from simclr_keras.export.formats.comparison import (
    check_size,
    compare,
    pick_vectors,
    quietly,
    random_images,
    refuse,
    remove_on_failure,
)
from simclr_keras.export.formats.names import CLASS_NAMES_KEY, class_names_text

PACKAGES = ("onnx", "onnxruntime", "tf2onnx")  # the last needs the first
# Runtimes sum in another order. That gives 1e-6 in trained networks of 18 layers, and up to 2e-4 in random ones, whose
# signals may be small differences of large numbers. A mistake gives 1e-2 or more: onnxruntime 1.20 made one of 1e-1.
TOLERANCE = 1e-3
OPSET = 15  # of 2021, so that old runtimes support it


def write_onnx(
    model: Any,
    path: str,
    *,
    image_size: int,
    class_names: Sequence[str] | None = None,
    endpoints: Sequence[str] | None = None,
) -> dict:
    """Write the inference pass with its vectors: float32 `images` [n, h, w, 3] in [0, 1] -> final_avg_pool, ...

    Any n; any h and w too if the encoder takes them, as those of this package do. The outputs are named after the
    endpoints. The metadata of the model contain `class_names`, one per line.

    Args:
        model: built float32 SimCLRModel. path: of the file; an existing file is replaced.
        image_size: side in pixels of the images it was trained on.
        class_names: of the classifier, in its order; None if they are unknown.
        endpoints: names of the outputs to write; None for all vectors and the probabilities.

    Returns:
        dict of file, tolerance, difference (the largest over the vectors, in units of the largest value), images, opset
        and input, for the card.

    Raises:
        InputError: a package is missing, or the weights are too large for one file.
        TrainingError: the network cannot be converted, such as keras:ConvNeXtTiny, or the outputs of the file
            differ; the file is removed.
    """
    require_packages()
    check_size(model, "onnx")
    any_size = model.fixed_size is None
    # SAME padding depends on the size being odd or even: one of each.
    batches = [random_images(1, image_size), random_images(3, image_size)]
    batches += [random_images(2, image_size + 9)] if any_size else []
    with remove_on_failure(path) as path:
        with quietly(path.name):
            path.write_bytes(_converted(model, None if any_size else image_size, class_names, endpoints))
            try:
                run = _runner(path)
            except Exception as error:  # onnxruntime's own, of many kinds
                refuse(
                    path.name,
                    f"the converter does not support all operations of this network ({one_line(error, 120)}); use "
                    "another format",
                )
        report = compare(lambda x: pick_vectors(model(x), endpoints), run, batches, TOLERANCE, path.name)
    side = None if any_size else image_size
    shape = {"name": IMAGES, "dtype": "float32", "shape": [None, side, side, 3], "range": [0, 1]}
    return {"file": path.name, **report, "opset": OPSET, "input": shape}


def require_packages() -> None:
    """Raise InputError if tf2onnx, onnx or onnxruntime is missing."""
    for module in PACKAGES:
        packages.require(module)


def _converted(model, size, class_names, endpoints):
    """Return the bytes of the ONNX model, for images of this size; None for any."""
    import tf2onnx
    from onnx import numpy_helper

    # The converter gets the network without its weights: it makes some fifty copies of its input, 7 GB for a ResNet-50.
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    trainable = len(model.trainable_variables)

    def call(images, *weights):
        outputs, _ = model.stateless_call(weights[:trainable], weights[trainable:], images, training=False)
        return pick_vectors(outputs, endpoints)

    specs = [tf.TensorSpec([None, size, size, 3], tf.float32, name=IMAGES)]
    specs += [tf.TensorSpec(v.shape, v.dtype, name=f"weight_{i}") for i, v in enumerate(variables)]
    function = tf.function(call, input_signature=specs, autograph=False)
    proto, _ = tf2onnx.convert.from_function(function, specs, opset=OPSET)
    graph = proto.graph
    used = {name for node in graph.node for name in node.input}
    weights = {spec.name: v.numpy() for spec, v in zip(specs[1:], variables) if spec.name in used}
    del graph.input[1:]
    weights = _fold_weights(proto, weights)
    _join_pads(graph)
    _drop_unused(graph)
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    # The converter numbers the unknown sizes; equal names show which are the same.
    del graph.value_info[:]
    names = ["batch"] if size else ["batch", "height", "width"]
    for value, sizes in [(graph.input[0], names), *((value, names[:1]) for value in graph.output)]:
        for dimension, name in zip(value.type.tensor_type.shape.dim, sizes):
            dimension.dim_param = name
    if class_names:
        proto.metadata_props.add(key=CLASS_NAMES_KEY, value=class_names_text(class_names))
    return proto.SerializeToString()


def _fold_weights(proto, weights):
    """Compute the operations that take only weights, such as transposing kernels, and remove them from the model.

    Args:
        weights: dict of name to array.

    Returns:
        dict of name to array: the inputs of the remaining operations.
    """
    from onnx import helper

    graph = proto.graph
    constants, folded, done = {value.name for value in graph.initializer}, set(weights), []
    for i, node in enumerate(graph.node):
        if folded.intersection(node.input) and folded.union(constants).issuperset(node.input):
            folded.update(node.output)
            done.append(i)
    nodes = [graph.node[i] for i in done]
    taken = {name for i, node in enumerate(graph.node) if i not in done for name in node.input}
    kept = {name: array for name, array in weights.items() if name in taken}
    made = [name for node in nodes for name in node.output if name in taken]
    if made:
        part = helper.make_graph(
            nodes,
            "weights",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                for name, array in weights.items()
            ],
            [helper.make_empty_tensor_value_info(name) for name in made],
            list(graph.initializer),
        )
        part = helper.make_model(part, opset_imports=proto.opset_import, ir_version=proto.ir_version)
        kept |= zip(made, _session(part.SerializeToString()).run(made, weights))
    for i in reversed(done):
        del graph.node[i]
    return kept


def _join_pads(graph):
    """Move padding into the 2x2 average pool after it, that of ResNet-D's shortcuts.

    onnxruntime 1.20 joins the two by itself and then divides wrongly. Other pools stay: joined, 3x3 ones are wrong in
    1.31.
    """
    from onnx import helper, numpy_helper

    constants = {value.name: value for value in graph.initializer}
    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad" and len(node.input) == 2}
    for node in graph.node:
        pad = pads.get(node.input[0]) if node.op_type == "AveragePool" else None
        settings = {attribute.name: list(attribute.ints) for attribute in node.attribute}
        if pad is None or settings["kernel_shape"] != [2, 2] or settings.keys() & {"pads", "auto_pad"}:
            continue
        # [n, c, h, w] before, then after
        sides = numpy_helper.to_array(constants[pad.input[1]]).reshape(2, 4)[:, 2:]
        node.attribute.append(helper.make_attribute("pads", sides.ravel().tolist()))
        node.attribute.append(helper.make_attribute("count_include_pad", 1))
        node.input[0] = pad.input[0]
    taken = {name for node in graph.node for name in node.input}
    for i in reversed(range(len(graph.node))):
        if graph.node[i].op_type == "Pad" and graph.node[i].output[0] not in taken:
            del graph.node[i]


def _drop_unused(graph):
    """Remove constants that no operation uses: onnxruntime warns about each."""
    taken = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name not in taken:
            del graph.initializer[i]


def _session(model):
    """Return a session of onnxruntime, for a path or the bytes of a model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _runner(path):
    """Return a function of images to the dict of the file's outputs."""
    session = _session(str(path))
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {IMAGES: images})))
