"""One TensorFlow for the whole suite, with four logical CPU devices so that replicas can be tested."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in commands, whatever the processor
os.environ["MPLBACKEND"] = "agg"
# Networks of tests are so small that threads cost more than they save, and pytest-xdist has a process per core.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiled code of tests runs for a few steps: optimizing it takes longer.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

import gc
import pathlib
import signal

from tests import as_windows
from tests.thorough import thorough_lines

if os.environ.get("SIMCLR_TEST_AS_WINDOWS"):
    as_windows.block()

import matplotlib
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.backend import custom_gradients_freed

# Tests that have a cache folder of their own would have programs look for all fonts again, which is seconds and a line
# on some machines; nor does a user's own style count.
os.environ.setdefault("MPLCONFIGDIR", matplotlib.get_cachedir())

# Tracing makes so many objects that Python's default looks for cycles for a tenth of the time.
gc.set_threshold(100_000, 20, 50)

# On a disk, the suite waits for its 2 GB of temporary files for up to a tenth of the time. TMPDIR is obeyed; some tests
# run programs there. The files of failed tests, and of a suite that was killed, stay until the next failure:
# /dev/shm/pytest-of-USER may be deleted.
MEMORY = pathlib.Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK):
    room = os.statvfs(MEMORY)
    if room.f_bavail * room.f_frsize > 8e9 and not room.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

GOLDEN = pathlib.Path(__file__).parent / "golden"
LOGICAL_DEVICES = 4

# A suite started in the background of a shell script has it ignored, and so would the runs it interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def rewrite_graphs(yes):
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not yes})


# Rewriting each graph for speed takes a fifth of the suite's time: graphs here run for a few steps. Tests that start
# processes of their own run the graphs that users run.
rewrite_graphs(False)
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * LOGICAL_DEVICES
)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    # The longest file first: a worker would wait for it at the end.
    items.sort(key=lambda item: "/hosts/" not in item.nodeid)
    listed = {f"tests/{line}" for line in thorough_lines()}
    for item in items:
        if listed & {item.nodeid, item.nodeid.partition("[")[0], item.nodeid.partition("::")[0]}:
            item.add_marker(pytest.mark.thorough)


@pytest.fixture(scope="session")
def golden():
    """Opens a file of tests/golden by name; see tests/golden/README.md."""
    return lambda name: np.load(GOLDEN / name, allow_pickle=False)


def count_collectives_anew():
    """Before another run on replicas in the same process: TensorFlow numbers collective groups from 1 in each strategy,
    so that those of two runs would collide.
    """
    tf.distribute.MirroredStrategy._collective_key_base += 100_000


@pytest.fixture(autouse=True)
def own_collectives():
    count_collectives_anew()
    return count_collectives_anew


@pytest.fixture
def rewritten_graphs():
    """Graphs are rewritten as they are for users: for tests that compare with XLA or with a process of its own."""
    rewrite_graphs(True)
    yield
    rewrite_graphs(False)


@pytest.fixture(autouse=True, scope="module")
def freed_graphs():
    """Or a process that runs many test files grows to 8 GB."""
    with custom_gradients_freed():
        yield
    gc.collect()  # a Keras model is in a reference cycle
    gc.freeze()  # what is still there is there to stay, and looking through it again takes a tenth of the time


@pytest.fixture(params=[2, 4])
def mirrored(request, own_collectives):
    """A MirroredStrategy over 2 and over 4 logical CPU devices."""
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(request.param)])


@pytest.fixture
def two_devices(own_collectives, monkeypatch):
    """--strategy=mirrored takes 2 devices: whole runs on 4 take twice as long to trace, and show no more."""
    devices = tf.config.list_logical_devices("CPU")[:2]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices if kind == "CPU" else [])


# Tiny runs that tests of several rooms look at, made once.
from tests.chain_fixtures import (  # noqa: E402, F401
    data,
    distilled,
    finetuned,
    folder,
    pretrained,
    stripes,
    tiny,
    tiny_session,
)
