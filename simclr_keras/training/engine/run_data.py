"""The data of a run: opened once, split, opened again after a failure, and bound to the run directory."""

from collections.abc import Callable

from simclr_keras.data.sources import load_dataset
from simclr_keras.data.sources.fingerprint import contents_of
from simclr_keras.data.sources.source import Splits
from simclr_keras.errors import InputError
from simclr_keras.runs.checkpoints import steps_in
from simclr_keras.runs.data_binding import bind_data


class RunData:
    """The splits that a config names, with what an earlier run held out held out again.

    Args:
        config: of the stage. run_dir: RunDir. say: prints a line.
        inherit_split: function of a content digest, or None, to the arguments of `load_dataset.split_dataset` that
            repeat an earlier run's split. The digest identifies data that was moved.

    Attributes:
        splits: Splits; None before `load`. After `bind` they are those that the run began with.
        contents: digests of the images as this process first found them, see `contents_of`.
        inherited: what inherit_split returned.
    """

    def __init__(self, config, run_dir, inherit_split: Callable[[str | None], dict], say=print):
        self._config = config
        self._run_dir = run_dir
        self._inherit_split = inherit_split
        self._say = say
        self.splits: Splits | None = None
        self.contents: dict | None = None
        self.inherited: dict = {}

    def load(self) -> None:
        """Open and split the data.

        Raises:
            InputError: it is missing, unusable, or contradicts what an earlier run held out.
        """
        self.inherited = self._inherit_split(None)
        whole = self._open()
        try:
            self.contents = contents_of(whole)
        except InputError:  # a file that is remembered as readable is gone
            whole = self._open(recheck=True)
            self.contents = contents_of(whole)
        if self.inherited.get("held_out"):  # an evaluation split of the data's own is not used
            self.contents["evaluation_contents"] = None
        inherited = self._inherit_split(self._digest_if_held_out(whole))
        if inherited != self.inherited:
            labels = " and labels" if "labeled" in inherited else ""
            self._say(
                f"data     {self._config.dataset} has the images of an earlier run, moved: using its held-out "
                f"split{labels}"
            )
        self.inherited = inherited
        self.splits = self._split(whole)

    def reload(self) -> None:
        """Open and split the data again, and check every file; the same arguments and errors as `load`."""
        self.splits = None  # there may be no room for both
        self.splits = self._split(self._open(recheck=True))

    def bind(self, resumed: bool) -> None:
        """Write the splits into the run directory, or, if `resumed`, restore those it began with.

        Raises:
            InputError: a resumed run finds other data than it began with.
        """
        self.splits = bind_data(self._run_dir, self.splits, resumed, self._say, self.contents)

    def _open(self, recheck: bool = False) -> Splits:
        config = self._config
        return load_dataset.open_dataset(
            config.dataset,
            data_dir=config.data_dir,
            labels=config.labels,
            on_bad_image=config.on_bad_image,
            recheck=recheck,
        )

    def _split(self, whole: Splits) -> Splits:
        config = self._config
        settings = {
            "eval_fraction": config.eval_fraction,
            "label_fraction": config.label_fraction,
            "labels_per_class": config.labels_per_class,
        }
        return load_dataset.split_dataset(whole, seed=config.seed, **{**settings, **self.inherited})

    def _digest_if_held_out(self, whole: Splits) -> str | None:
        """Return the digest of the images, or None if no training images are held out."""
        own_split = whole.evaluation is not None and not self.inherited.get("held_out")
        if not whole.train.has_labels or own_split:
            return None
        # A resumed run keeps its split, even if images were added or deleted since.
        split = self._run_dir.read_split() if steps_in(self._run_dir.checkpoints) else None
        return split.contents if split else self.contents["contents"]
