"""Which rows of the evaluation batches a host prepares."""

import tensorflow as tf


class EvaluationPart:
    """The rows of each evaluation batch that belong to this host's replicas; all rows without an input context.

    Args:
        num_examples: of the source.
        batch_size: of the global batch, a multiple of the replicas.
        context: tf.distribute.InputContext of this host, or None.

    Attributes:
        rows: of a batch, the share of one replica.
        missing_batches: how many fewer batches this host has than the chief, whose rows are the first ones.
    """

    def __init__(
        self, num_examples: int, batch_size: int, context: tf.distribute.InputContext | None
    ) -> None:
        replicas, self._hosts, self._host = (
            (context.num_replicas_in_sync, context.num_input_pipelines, context.input_pipeline_id)
            if context
            else (1, 1, 0)
        )
        self.rows = batch_size // replicas
        self._rows_of_host, self._batch_size = batch_size // self._hosts, batch_size
        last = num_examples % batch_size
        last_of_host = min(max(last - self._host * self._rows_of_host, 0), self._rows_of_host)
        local = replicas // self._hosts
        # Without a context the last batch is as short as it is.
        self.missing_batches = (local if last else 0) - -(-last_of_host // self.rows) if context else 0

    def rows_of_host(self, records: tf.data.Dataset) -> tf.data.Dataset:
        """Return the records of a Dataset that this host prepares; the others stay undecoded."""
        if self._hosts == 1:
            return records

        def is_own(row, _):
            return row % self._batch_size // self._rows_of_host == self._host

        return records.enumerate().filter(is_own).map(lambda _, record: record)
