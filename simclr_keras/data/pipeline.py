"""From a source to batches: training batches are a function of (seed, step), evaluation batches go in order."""

import functools

import tensorflow as tf

from simclr_keras.data.evaluation_part import EvaluationPart
from simclr_keras.data.parallel import PARALLEL_CALLS, compiles_alone
from simclr_keras.data.sampler import Sampler, shuffled_indices
from simclr_keras.data.views.autoaugment import auto_augment
from simclr_keras.data.views.crop import CropConfig, make_views, make_views_of_batch
from simclr_keras.preprocess import decode, evaluation_view, to_float

# Batches that need more bytes of float images are made image by image, which needs little memory.
LARGEST_WHOLE_BATCH = 256 * 2**20
# Images made one by one are augmented in groups: large enough that calling an operation is worth it.
AUGMENTED_TOGETHER = 32


# AutoGraph would rewrite every mapped function, none of which needs it: 2 s at the start of a run.
_plain = tf.autograph.experimental.do_not_convert


@_plain
def train_batches(
    source,
    *,
    image_size,
    batch_size,
    seed,
    first_step,
    num_steps,
    input_context=None,
    crop=None,
    windows=2,
):
    """Return batches of cropped, resized and flipped uint8 views for `num_steps` steps from `first_step`.

    Row r of step t is position p = t * batch_size + r of an endless sequence in which every epoch is a new
    permutation of the source. So batch t is the same whether a run started at step 0 or was resumed at t,
    on any number of replicas and hosts. Each host of a StreamSource reads its own records in its own order:
    the batches of two hosts differ from those of one.

    Args:
        source: Source or StreamSource.
        image_size: int, side of a view in pixels, at least 8.
        batch_size: int, examples of the global batch, at least 2, divisible by the replicas. If it is larger than the
            data, a batch continues with the next epochs, so that an image occurs several times, with other views each
            time.
        seed: int. first_step: int >= 0. num_steps: int >= 0.
        input_context: tf.distribute.InputContext of this host, from distribute_datasets_from_function. With
            it, the batches are those of this host's replicas in replica order; without it, whole global batches.
        crop: CropConfig, or None for the default one.
        windows: views per image.

    Returns:
        tf.data.Dataset of dicts, b = rows per batch: views uint8 [b, windows, image_size, image_size, 3],
        label int32 [b] (-1 = unlabeled), id int32 [b] (number of the image in the source, see `Source`).
    """
    sampler = Sampler(image_size, batch_size, int(seed), windows, crop or CropConfig(), input_context)
    steps = (int(first_step), int(num_steps))
    whole = _made_whole(source, image_size, batch_size, windows)
    if not source.indexed:
        dataset = _stream_batches(source, sampler, steps)
    elif whole:
        dataset = _array_batches(source, sampler, steps)
    else:
        dataset = _record_batches(source, sampler, steps)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(_options(rewritten=not whole))


def joined(batches, labeled_batches):
    """Return two datasets of training batches side by side, for a loss with a term for each.

    Args:
        batches: tf.data.Dataset of `train_batches`.
        labeled_batches: one of labeled images, of the same steps and input_context; with another seed, or both have
            the same random windows row by row.

    Returns:
        tf.data.Dataset of the dicts of `batches`, with the views and labels of the others as labeled_views uint8
        [m, windows, image_size, image_size, 3] and labeled_label int32 [m].
    """

    def join(batch, others):
        return {**batch, "labeled_views": others["views"], "labeled_label": others["label"]}

    return tf.data.Dataset.zip((batches, labeled_batches)).map(join).with_options(_options())


def _options(rewritten=True, sharded=False):
    """Return the tf.data.Options of batches.

    Args:
        rewritten: whether TensorFlow looks for parts to rewrite, half of the time until the first batch of a small set.
            It then writes each image into its batch at once; batches made whole give it nothing to do. Of joined
            datasets, neither is rewritten if one is not.
        sharded: whether tf.distribute may share out the rows among hosts.
    """
    options = tf.data.Options()
    options.deterministic = True
    # Its thread sleeps for up to a minute at a time; an iterator over replicas waits for it when it is deleted.
    options.autotune.enabled = False
    if not rewritten:  # else left unset: TensorFlow warns of datasets that are joined and differ
        options.experimental_optimization.apply_default_optimizations = False
    if not sharded:
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


@_plain
def eval_batches(
    source,
    *,
    image_size,
    batch_size,
    pad=False,
    input_context=None,
    as_they_are=False,
    antialias=False,
):
    """Return all images in order with the evaluation preprocessing.

    Args:
        source: Source or StreamSource.
        image_size: int, side in pixels, at least 8.
        batch_size: int, at least 1.
        pad: True fills the last batch up to batch_size rows of zeros with label and id -1 (static shapes).
        input_context: tf.distribute.InputContext of this host, from distribute_datasets_from_function; needs `pad`.
            With it, the batches are those of this host's replicas in replica order, and all hosts have as many.
        as_they_are: bool, whether the images have the size already, and are neither cropped nor resized.
        antialias: bool, whether images are antialiased when they shrink.

    Returns:
        tf.data.Dataset of dicts: image float32 [b, image_size, image_size, 3] in [0, 1], label int32 [b]
        (-1 = unlabeled), id int32 [b].
    """

    def prepare(record):
        image = decode(record["image"]) if source.encoded else record["image"]
        view = to_float(image) if as_they_are else evaluation_view(image, image_size, antialias=antialias)
        return {**record, "image": view}

    # Images of one size in memory are processed in whole batches: a quarter of the time.
    whole = _made_whole(source, image_size, batch_size, windows=1)
    part = EvaluationPart(len(source), batch_size, input_context)
    if source.indexed:
        records = part.rows_of_host(tf.data.Dataset.range(source.num_examples))
        records = records.batch(part.rows) if whole else records
        records = records.map(_fetcher(source), num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    else:
        records = part.rows_of_host(source.stream(shuffle=False, repeat=False))
    dataset = records.map(prepare, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
    if not whole:
        dataset = dataset.batch(part.rows)
    if pad:
        dataset = dataset.map(lambda batch: _fill_up(batch, part.rows))
        if part.missing_batches:
            blank = {
                "image": tf.zeros([0, image_size, image_size, 3]),
                **dict.fromkeys(("label", "id"), tf.zeros([0], tf.int32)),
            }
            dataset = dataset.concatenate(
                tf.data.Dataset.from_tensors(blank)
                .map(lambda batch: _fill_up(batch, part.rows))
                .repeat(part.missing_batches)
            )
    one_batch = len(source) <= part.rows
    # The rows of each host are chosen here if there is a context; tf.distribute must not shard them again.
    options = _options(rewritten=not whole and not one_batch, sharded=input_context is None)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _made_whole(source, image_size, batch_size, windows):
    """Return whether batches are made whole: a function of the *global* batch.

    Both ways differ by one level of uint8, so the choice must not depend on the number of replicas.
    """
    if source.shape_in_memory is None:
        return False
    height, width = source.shape_in_memory
    pixels = height * width + windows * image_size * (width + image_size)
    return batch_size * pixels * 3 * 4 <= LARGEST_WHOLE_BATCH


def _array_batches(source, sampler, steps):
    """Make whole batches at a time, from uint8 images of one size in memory."""
    fetch = _fetcher(source, source.numbers)
    shape = (sampler.rows, *source.shape_in_memory)
    make = _views_function(shape, sampler.image_size, sampler.crop, compiled=compiles_alone())

    def batch(step, replica):
        first_row = sampler.first_row(replica)
        positions = sampler.positions(step, first_row, sampler.rows)
        records = fetch(shuffled_indices(positions, source.num_examples, sampler.seed))
        crops = sampler.crops(step, first_row, sampler.rows)
        views = make(records["image"], crops)
        if sampler.crop.auto_augment:
            views = auto_augment(views, sampler.policies(step, first_row, sampler.rows))
        return {"views": views, "label": records["label"], "id": records["id"]}

    # A fixed number: each call keeps a whole batch in memory, and its kernels use many threads.
    return _steps_and_replicas(sampler, steps).map(batch, num_parallel_calls=4)


@functools.cache
def _views_function(shape, image_size, crop, compiled):
    """Return a function of images uint8 [n, h, w, 3] and CropDraws to views; the same one for the same arguments.

    A second dataset of a run, such as that of recalibration, is then not traced and compiled again.
    """

    # XLA joins the many small operations, for half of the time or less.
    @tf.function(jit_compile=compiled or None, autograph=False)
    def make(images, crops):
        return make_views_of_batch(images, crops, image_size, crop)

    return make


def _record_batches(source, sampler, steps):
    """Make batches image by image: of encoded images, mixed sizes, or too large to be made at once."""
    count, first_row = sampler.rows_of_host(), sampler.first_row(0)
    fetch = _fetcher(source, source.numbers)

    def rows_of_step(step):
        positions = sampler.positions(step, first_row, count)
        indices = shuffled_indices(positions, source.num_examples, sampler.seed)
        return tf.data.Dataset.from_tensor_slices((indices, sampler.crops(step, first_row, count)))

    def example(index, crops):
        return fetch(index), crops

    rows = _range_of_steps(steps).flat_map(rows_of_step).map(example, num_parallel_calls=PARALLEL_CALLS)
    return _batches_of_records(rows, source, sampler, steps)


def _stream_batches(source, sampler, steps):
    """Make batches of records as they are read: a step takes the next rows of this host's stream."""
    count, first_step = sampler.rows_of_host(), steps[0]
    records = source.stream(
        seed=sampler.seed, first_record=first_step * count, host=sampler.host, num_hosts=sampler.hosts
    )
    crops = _draws_of_rows(sampler.crops, sampler, steps)
    return _batches_of_records(tf.data.Dataset.zip((records, crops)), source, sampler, steps)


def _draws_of_rows(draw, sampler, steps):
    """Return a Dataset of `draw` (sampler.crops or sampler.policies) for this host's rows, row by row."""
    count, first_row = sampler.rows_of_host(), sampler.first_row(0)
    return _range_of_steps(steps).flat_map(
        lambda step: tf.data.Dataset.from_tensor_slices(draw(step, first_row, count))
    )


def _batches_of_records(rows, source, sampler, steps):
    """Make batches from a Dataset of (record, CropDraws), records still encoded."""

    def view(record, crops):
        views = make_views(record["image"], crops, sampler.image_size, sampler.crop, encoded=source.encoded)
        return {"views": views, "label": record["label"], "id": record["id"]}

    def augmented(rows, policies):
        return {**rows, "views": auto_augment(rows["views"], policies)}

    rows = rows.map(view, num_parallel_calls=PARALLEL_CALLS)
    if sampler.crop.auto_augment:
        rows = tf.data.Dataset.zip((rows, _draws_of_rows(sampler.policies, sampler, steps)))
        rows = rows.batch(AUGMENTED_TOGETHER).map(augmented, num_parallel_calls=PARALLEL_CALLS).unbatch()
    return rows.batch(sampler.rows, drop_remainder=True)


def _range_of_steps(steps):
    first_step, num_steps = steps
    return tf.data.Dataset.range(first_step, first_step + num_steps)


def _steps_and_replicas(sampler, steps):
    each = tf.data.Dataset.range(sampler.replicas_of_host)
    return _range_of_steps(steps).flat_map(lambda step: each.map(lambda replica: (step, replica)))


def _fetcher(source, numbers=None):
    """Return a function of a row (int64 scalar; also [n] if images are in memory) to image, label and id.

    numbers: the ids, int [n]; None for the rows.
    """
    with tf.device("CPU:0"):
        labels = None if source.labels is None else tf.constant(source.labels, tf.int32)
        numbers = None if numbers is None else tf.constant(numbers, tf.int32)

    def fetch(index):
        return {
            "image": source.fetch(index),
            "label": tf.fill(tf.shape(index), -1) if labels is None else tf.gather(labels, index),
            "id": tf.cast(index, tf.int32) if numbers is None else tf.gather(numbers, index),
        }

    return fetch


def _fill_up(batch, rows):
    """Add rows of zeros with label and id -1, up to `rows`."""
    missing = rows - tf.shape(batch["id"])[0]
    image = tf.pad(batch["image"], [[0, missing], [0, 0], [0, 0], [0, 0]])
    label, index = (tf.pad(batch[name], [[0, missing]], constant_values=-1) for name in ("label", "id"))
    return {
        "image": tf.ensure_shape(image, [rows, *batch["image"].shape[1:]]),
        "label": tf.ensure_shape(label, [rows]),
        "id": tf.ensure_shape(index, [rows]),
    }
