"""The names of the files that export.py writes."""

GRAPH_FILE, KERAS_FILE, LITERT_FILE = "saved_model.pb", "model.keras", "model.tflite"
INT8_FILE, ONNX_FILE = "model_int8.tflite", "model.onnx"
CLASS_NAMES = "class_names.txt"  # in the assets of a SavedModel
