"""The names of the files that simclr export writes."""

from collections.abc import Sequence

GRAPH_FILE, KERAS_FILE, LITERT_FILE = "saved_model.pb", "model.keras", "model.tflite"
INT8_FILE, ONNX_FILE = "model_int8.tflite", "model.onnx"
CLASS_NAMES = "class_names.txt"  # in an export, in the assets of a SavedModel, and in a LiteRT file
CLASS_NAMES_KEY = "class_names"  # of the same text in the metadata of an ONNX model
FILES = (GRAPH_FILE, KERAS_FILE, LITERT_FILE, INT8_FILE, ONNX_FILE, CLASS_NAMES)


def class_names_text(class_names: Sequence) -> str:
    """Return the content of that file: one name per line, in the order of the logits."""
    return "".join(f"{' '.join(str(name).split())}\n" for name in class_names)
