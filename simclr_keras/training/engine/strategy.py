"""The only place that builds a tf.distribute strategy, and that knows which arithmetic the hardware has."""

import pathlib

import tensorflow as tf

from simclr_keras.errors import InputError, one_line
from simclr_keras.formatting import counted


def make_strategy(kind: str = "auto", tpu: str | None = None) -> tf.distribute.Strategy:
    """Return the strategy for this machine's devices.

    Args:
        kind: "auto" (a TPU if `tpu` is given, else all GPUs if there are several, else one device), "one",
            "mirrored" (all GPUs, or all logical CPU devices) or "tpu".
        tpu: name or address of a TPU, "local" on a TPU VM.

    Raises:
        InputError: the TPU cannot be reached, or `kind` does not use it.
    """
    if tpu and kind not in ("auto", "tpu"):
        raise InputError(
            f"--tpu={tpu} is not used with --strategy={kind}; leave one of them out, or give --strategy=tpu."
        )
    gpus = tf.config.list_logical_devices("GPU")
    if kind == "tpu" or (kind == "auto" and tpu):
        return _tpu_strategy(tpu or "local")
    if kind == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if kind == "auto" and len(gpus) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _tpu_strategy(tpu):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # the network's, Google's client's, TensorFlow's: each part raises its own
        raise InputError(
            f"no TPU found at --tpu={tpu} ({one_line(error)}); check its name, or drop --tpu and --strategy=tpu."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def on_accelerator(strategy: tf.distribute.Strategy) -> bool:
    """Return whether the strategy computes on TPUs or GPUs."""
    return isinstance(strategy, tf.distribute.TPUStrategy) or bool(tf.config.list_logical_devices("GPU"))


def resolve_precision(precision: str, strategy: tf.distribute.Strategy) -> str:
    """Return the Keras dtype policy name of a --precision.

    "auto" is bfloat16 on TPUs, on GPUs of compute capability 8.0 (Ampere) or newer, and on CPUs with AVX512-BF16 or
    AMX-BF16 instructions; float32 elsewhere.
    """
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(strategy) else "float32"
    return {"bfloat16": "mixed_bfloat16"}.get(precision, precision)


def _has_bfloat16(strategy):
    if isinstance(strategy, tf.distribute.TPUStrategy):
        return True
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)
    try:
        flags = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def describe(strategy: tf.distribute.Strategy, policy: str) -> str:
    """Return number and kind of the devices, and the precision."""
    if isinstance(strategy, tf.distribute.TPUStrategy):
        kind = "TPU core"
    else:
        kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU device"
    count = strategy.num_replicas_in_sync
    return f"{counted(count, kind)}, {policy.replace('mixed_bfloat16', 'bfloat16')}"
