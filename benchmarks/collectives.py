"""Count the collectives of one pretraining step, and their bytes, against the least possible.

The step is traced under a tf.distribute.TPUStrategy made from invented metadata; nothing runs. Every `CrossReplicaSum`
of the replicated part is counted, with the bytes that one replica contributes. XLA may still merge some of them.

The least possible: gradients once, two vectors per batch normalization and direction in one collective, embeddings
once. The times are arithmetic with published link speeds, not measurements. Latency is left out.

    python benchmarks/collectives.py                      # r50_1x_sk0, 224 px, batch 4096, 32, 128 and 512 replicas
    python benchmarks/collectives.py --model=r152_3x_sk1 --replicas=512
"""

import collections
import dataclasses
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from simclr_keras.backend import start_tensorflow_quietly

start_tensorflow_quietly()

import tensorflow as tf

from benchmarks.command_line import make_parser, parse
from simclr_keras.config.modes import PretrainConfig
from simclr_keras.models.batch_norm import batch_norm_layers
from simclr_keras.runs.architecture import Architecture
from simclr_keras.training.engine import strategy
from simclr_keras.training.stages import pretrain
from tests import tpu_tracing

CLASSES = 1000
# Bytes per second that one chip sends. TPU v4: 6 links of 50 GB/s (Jouppi et al. 2023, arXiv 2304.01433, table 4).
TPU_V4 = 6 * 50e9
# DGX H100 (its user guide): NVLink 900 GB/s per GPU, both directions together; one 400 Gb/s network adapter per GPU.
NVLINK, NETWORK, GPUS_PER_HOST = 450e9, 50e9, 8
PARTS = ("gradients and figures", "batch norm", "embeddings", "other")


@dataclasses.dataclass(frozen=True)
class Part:
    """Collectives of one purpose in a step."""

    count: int
    bytes: int


def trace(config, replicas):
    """Return (model, graph) of one pretraining step under a TPUStrategy of so many replicas."""
    tpus = tpu_tracing.fake_tpu_strategy(replicas)
    # One copy of the variables is enough: nothing runs.
    tpus.extended._tpu_devices = tpus.extended._tpu_devices[:1]
    with tpus.scope():
        architecture = Architecture.of_pretraining(config, CLASSES)
        policy = strategy.resolve_precision("bfloat16", tpus)
        learner, _ = pretrain.make_learner(config, architecture, 1_281_167, tpus, policy)
    rows = config.batch_size // replicas
    views = tf.TensorSpec([rows, 2, config.image_size, config.image_size, 3], tf.uint8)
    label, row_id = tf.TensorSpec([rows], tf.int32), tf.TensorSpec([rows], tf.int64)

    def step(views, label, row_id):
        return learner.train_step({"views": views, "label": label, "id": row_id})

    return learner.model, tpu_tracing.trace(tpus, step, views, label, row_id)


def counted_parts(graph) -> dict[str, Part]:
    """Return the collectives of a step by purpose, known from their shapes."""
    shapes = collections.defaultdict(list)
    tensors = []
    for node in tpu_tracing.replicated_nodes(graph):
        if node.op in tpu_tracing.COLLECTIVES:
            shape = [dim.size for dim in node.attr["_output_shapes"].list.shape[0].dim]
            tensors.append((shape, math.prod(shape) * tf.dtypes.as_dtype(node.attr["T"].type).size))
    largest = max(size for shape, size in tensors if len(shape) == 1)
    for shape, size in tensors:
        if len(shape) == 1:
            shapes["gradients and figures" if size == largest else "batch norm"].append(size)
        else:
            shapes["embeddings" if shape else "other"].append(size)
    return {name: Part(len(shapes[name]), sum(shapes[name])) for name in PARTS}


def least_parts(model, config) -> dict[str, Part]:
    """Return the least possible collectives of a step by purpose."""
    weights = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    layers = batch_norm_layers(model)
    channels = sum(layer.moving_mean.shape[0] for layer in layers)
    embeddings = config.batch_size * 2 * config.proj_dim * 4
    return {
        "gradients and figures": Part(1, 4 * weights),
        "batch norm": Part(2 * len(layers), 2 * 2 * 4 * channels),
        "embeddings": Part(1, embeddings),
        "other": Part(0, 0),
    }


def total(parts: dict[str, Part]) -> Part:
    return Part(sum(part.count for part in parts.values()), sum(part.bytes for part in parts.values()))


def tpu_seconds(size: int, replicas: int) -> float:
    """Return the seconds of an all-reduce on TPU v4 chips: each sends nearly twice the bytes."""
    return 2 * (replicas - 1) / replicas * size / TPU_V4


def gpu_seconds(size: int, replicas: int) -> float:
    """Return the seconds of an all-reduce on hosts of 8 GPUs: over NVLink, then 1/8 over each network adapter."""
    hosts = max(replicas // GPUS_PER_HOST, 1)
    inside = 2 * (GPUS_PER_HOST - 1) / GPUS_PER_HOST * size / NVLINK
    return inside + 2 * (hosts - 1) / hosts * size / GPUS_PER_HOST / NETWORK


def main(argv=None):
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="r50_1x_sk0")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=4096)
    parser.add_argument("--replicas", type=int, nargs="*", default=[32, 128, 512])
    arguments = parse(parser, argv, model="r18_0.05x_sk0", image_size=8, batch_size=16, replicas=[8])
    config = PretrainConfig(
        model=arguments.model, image_size=arguments.image_size, batch_size=arguments.batch_size
    )
    print(f"{config.model}, {config.image_size} px, global batch {config.batch_size}\n")
    print("| replicas | part | collectives | bytes | least collectives | least bytes |")
    print("|---|---|---|---|---|---|")
    sums = {}
    for replicas in arguments.replicas:
        model, graph = trace(config, replicas)
        ours, least = counted_parts(graph), least_parts(model, config)
        ours["total"], least["total"] = total(ours), total(least)
        for name, part in ours.items():
            print(
                f"| {replicas} | {name} | {part.count} | {part.bytes:,} | {least[name].count} | {least[name].bytes:,} |"
            )
        sums[replicas] = ours["total"], least["total"]
    print("\n| replicas | collectives / least | bytes / least | ms on TPU v4 | ms on hosts of 8 H100 |")
    print("|---|---|---|---|---|")
    for replicas, (ours, least) in sums.items():
        tpu, gpu = (1e3 * seconds(ours.bytes, replicas) for seconds in (tpu_seconds, gpu_seconds))
        print(
            f"| {replicas} | {ours.count / least.count:.3f} | {ours.bytes / least.bytes:.3f} | {tpu:.2f} | {gpu:.2f} |"
        )


if __name__ == "__main__":
    main()
