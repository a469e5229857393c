"""The packages that only some features need: which feature, and how to install them. Imports none by itself."""

import importlib
import importlib.util
from typing import Any, NamedTuple

from simclr_keras.errors import InputError, one_line


class Package(NamedTuple):
    """A package that may be missing.

    Attributes:
        name: of its distribution, as pip knows it. extra: of this package, which installs it. feature: what needs it.
    """

    name: str
    extra: str
    feature: str

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f'pip install "simclr_keras[{self.extra}]"'


# By the name of the module.
PACKAGES = {
    "tensorflow": Package("tensorflow", "cpu", "everything; for GPUs and TPUs the extra is gpu or tpu"),
    "sklearn": Package("scikit-learn", "train", "training, kNN, logistic regression, the dataset digits"),
    "scipy": Package("scipy", "train", "training: near duplicates"),
    "threadpoolctl": Package("threadpoolctl", "train", "training: logistic regression"),
    "matplotlib": Package("matplotlib", "train", "training, report and visualize: pictures"),
    "tensorboard": Package("tensorboard", "train", "training: curves"),
    "tqdm": Package("tqdm", "train", "progress bars of training, embed and downloads"),
    "PIL": Package("pillow", "train", "images other than JPEG, PNG and BMP; pictures of visualize"),
    "pillow_heif": Package("pillow-heif", "heic", "HEIC photos"),
    "tensorflow_datasets": Package("tensorflow-datasets", "tfds", "datasets by name, such as cifar10"),
    "tensorflow_hub": Package("tensorflow-hub", "hub", "models at TF-Hub addresses"),
    "tf_keras": Package("tf_keras", "hub", "exports in models of Keras 2"),
    "ai_edge_litert": Package("ai-edge-litert", "litert", "export to LiteRT"),
    "tf2onnx": Package("tf2onnx", "onnx", "export to ONNX"),
    "onnx": Package("onnx", "onnx", "export to ONNX"),
    "onnxruntime": Package("onnxruntime", "onnx", "export to ONNX"),
    "safetensors": Package("safetensors", "safetensors", "weights of PyTorch"),
    "huggingface_hub": Package("huggingface_hub", "hf", "weights at hf:// addresses"),
    "keras_hub": Package("keras-hub", "keras-hub", "encoders of keras-hub"),
    "pyarrow": Package("pyarrow", "parquet", "embed to Parquet"),
}
TRAINING = tuple(module for module, package in PACKAGES.items() if package.extra == "train")


def missing(modules: tuple[str, ...] = tuple(PACKAGES)) -> list[str]:
    """Return those of some modules that are not installed."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


def require(module: str) -> Any:
    """Return an imported module of one of PACKAGES, such as "pyarrow.parquet".

    Raises:
        InputError: the package is missing, or cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in (package, module):
            raise InputError(remedy(package)) from error
        raise InputError(remedy(package, f"cannot be imported: {one_line(error, 120)}")) from error


def remedy(module: str, problem: str = "is missing") -> str:
    """Return one line that says what needs the package of a module, and how to install it."""
    package = PACKAGES[module]
    return f"{package.name} {problem} ({package.feature}); install it with: {package.install}"
