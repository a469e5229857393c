"""Traces a function under a genuine TPUStrategy on a machine without a TPU, and judges its ops.

The strategy is made from invented system metadata and its variables live on logical CPU devices, so a
function that calls strategy.run can be traced, though never executed. XLA has to compile all of the
replicated part: `findings` lists the ops in it that no XLA kernel of this process takes (types included) and
those without static shapes. The kernels asked are XLA's for CPUs; a TPU's own list may differ in detail.
"""

import collections
import functools

import numpy as np
import tensorflow as tf
from tensorflow.python.distribute.values import PerReplica
from tensorflow.python.framework import kernels
from tensorflow.python.tpu.tpu_system_metadata import TPUSystemMetadata

_TASK = "/job:localhost/replica:0/task:0/device:"
_Device = collections.namedtuple("_Device", "name device_type")
# These have kernels on TPUs only, or are marks that the compiler takes away.
COLLECTIVES = frozenset({"CrossReplicaSum", "AllToAll", "CollectivePermute"})
_MARKS = {"TPUReplicateMetadata", "TPUReplicatedInput", "TPUReplicatedOutput", "TPUCompilationResult"}

Findings = collections.namedtuple("Findings", "collectives wide_collectives without_kernel without_shape")
Findings.__doc__ = (
    "Counters of op names in the replicated part of a graph; of wide collectives, of 64-bit types."
)


class _Resolver:
    """Takes the place of a TPUClusterResolver."""

    tpu_hardware_feature = None

    def __init__(self, replicas):
        self.replicas = replicas

    def get_tpu_system_metadata(self):
        return TPUSystemMetadata(
            num_cores=self.replicas,
            num_hosts=1,
            num_of_cores_per_host=self.replicas,
            topology=None,
            devices=tuple(_Device(f"{_TASK}TPU:{i}", "TPU") for i in range(self.replicas)),
        )

    def master(self):
        return ""

    def cluster_spec(self):
        return tf.train.ClusterSpec({})


def fake_tpu_strategy(replicas=2):
    """A TPUStrategy to trace under; needs as many logical CPU devices as replicas."""
    strategy = tf.distribute.TPUStrategy(_Resolver(replicas))
    cpus = [f"{_TASK}CPU:{i}" for i in range(replicas)]
    extended = strategy.extended
    extended._tpu_devices = np.array([[cpu] for cpu in cpus], dtype=object)
    extended._device_input_worker_devices = collections.OrderedDict({cpus[0]: cpus})
    extended._host_input_worker_devices = collections.OrderedDict({cpus[0]: [cpus[0]] * replicas})
    return strategy


def trace(strategy, step, *specs):
    """Graph of strategy.run(step, args), for arguments with these tf.TensorSpecs on every replica."""
    replicas = strategy.num_replicas_in_sync

    def run(*tensors):
        grouped = [PerReplica(tensors[i * replicas : (i + 1) * replicas]) for i in range(len(specs))]
        outputs = strategy.run(step, args=tuple(grouped))
        return tf.nest.map_structure(strategy.experimental_local_results, outputs)

    repeated = [spec for spec in specs for _ in range(replicas)]
    return (
        tf.function(run, autograph=False).get_concrete_function(*repeated).graph.as_graph_def(add_shapes=True)
    )


def findings(graph):
    """Judges a graph from `trace`."""
    nodes = list(replicated_nodes(graph))
    count = collections.Counter
    return Findings(
        collectives=count(node.op for node in nodes if is_collective(node)),
        wide_collectives=count(
            dtype.name for dtype in map(_type, filter(is_collective, nodes)) if dtype.size == 8
        ),
        without_kernel=count(node.op for node in nodes if not has_xla_kernel(node)),
        without_shape=count(node.op for node in nodes if not has_static_shapes(node)),
    )


def replicated_nodes(graph):
    """Yields the nodes that every replica runs, through all the functions they call."""
    library = {function.signature.name: function for function in graph.library.function}
    pending = [(node, False) for node in graph.node]
    while pending:
        node, replicated = pending.pop()
        replicated = replicated or "_tpu_replicate" in node.attr
        if replicated and node.op not in library:
            yield node
        called = {node.op}
        for attribute in node.attr.values():
            called.update(function.name for function in (attribute.func, *attribute.list.func))
        for name in library.keys() & called:
            pending.extend((inner, replicated) for inner in library[name].node_def)


def is_collective(node):
    return node.op in COLLECTIVES


def _type(node):
    return tf.as_dtype(node.attr["T"].type)


def has_xla_kernel(node):
    if is_collective(node) or node.op in _MARKS:
        return True
    for constraints in _xla_kernels().get(node.op, []):
        used = {name: {node.attr[name].type, *node.attr[name].list.type} - {0} for name in constraints}
        if all(used[name] <= allowed for name, allowed in constraints.items()):
            return True
    return False


def has_static_shapes(node):
    shapes = node.attr["_output_shapes"].list.shape
    return not any(shape.unknown_rank or any(dim.size < 0 for dim in shape.dim) for shape in shapes)


@functools.cache
def _xla_kernels():
    """Op name -> a list of {type attribute: allowed types}, one for each of its XLA kernels."""
    tf.function(tf.identity, jit_compile=True)(1.0)  # registers them in this process
    constraints = collections.defaultdict(list)
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type == "XLA_CPU_JIT":
            constraints[kernel.op].append(
                {c.name: set(c.allowed_values.list.type) for c in kernel.constraint}
            )
    return constraints
