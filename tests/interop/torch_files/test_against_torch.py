"""ResNet-50s of torchvision and timm compute what ours do, in both directions; needs PyTorch, else see test_write."""

import pathlib
import re

import numpy as np
import pytest
import safetensors.numpy

from simclr_keras.errors import InputError
from simclr_keras.interop.open_source import open_source
from simclr_keras.interop.torch_files.read import read_arrays
from simclr_keras.interop.torch_files.write import write_torch
from tests.interop.torch_files.networks import MEAN_STD, make

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow

IMAGES = np.random.default_rng(0).uniform(size=(2, 96, 96, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def torchvision():
    """torchvision, also if its compiled operators do not load: no network of ours uses them."""
    try:
        import torchvision
    except RuntimeError:
        folder = pathlib.Path(torch.__file__).parents[1] / "torchvision"
        texts = (path.read_text() for path in folder.rglob("*.py"))
        library = torch.library.Library("torchvision", "DEF")
        for name in sorted({name for text in texts for name in re.findall(r"torchvision::(\w+)", text)}):
            library.define(f"{name}(Tensor x) -> Tensor")
        torchvision = pytest.importorskip("torchvision")
        torchvision.library_of_missing_operators = library  # lives as long as the module
    return torchvision


def outputs(network, images):
    with torch.no_grad():
        return network.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()


def relative(actual, expected):
    return float(np.max(np.abs(actual - expected)) / np.max(np.abs(expected)))


def normalized(images):
    return (images - np.float32(MEAN_STD["pixel_mean"])) / np.float32(MEAN_STD["pixel_std"])


def randomize(network):
    torch.manual_seed(0)
    for name, array in [*network.named_parameters(), *network.named_buffers()]:
        if "running_var" in name or ("bn" in name and name.endswith("weight")):
            torch.nn.init.uniform_(array, 0.5, 1.5)
        elif "running_mean" in name or ("bn" in name and name.endswith("bias")):
            torch.nn.init.normal_(array, 0, 0.2)


def test_torchvision_to_ours(torchvision, tmp_path):
    network = torchvision.models.resnet50()
    randomize(network)
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(value) for name, value in network.state_dict().items()},
        tmp_path / "r50.safetensors",
    )
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "r50.pth.tar")
    expected = outputs(network, normalized(IMAGES))
    for name in ("r50.safetensors", "r50.pth.tar"):
        model = open_source(f"torch:{tmp_path / name}").model()
        difference = relative(model(IMAGES)["logits"].numpy(), expected)
        print(f"{name}: differs by {difference:.1e}")
        assert difference < 1e-5


def test_ours_to_torchvision(torchvision, tmp_path):
    for padding in ("torch", "same"):
        model, architecture = make("r50_1x_sk0", 224, num_classes=7, max_pool_padding=padding)
        write_torch(model, architecture, str(tmp_path / f"{padding}.safetensors"))
        network = torchvision.models.resnet50(num_classes=7)
        if padding == "same":
            network.maxpool = torch.nn.Sequential(torch.nn.ZeroPad2d((0, 1, 0, 1)), torch.nn.MaxPool2d(3, 2))
        arrays = safetensors.numpy.load_file(tmp_path / f"{padding}.safetensors")
        network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        difference = relative(model(IMAGES)["logits"].numpy(), outputs(network, IMAGES))
        print(f"{padding}: differs by {difference:.1e}")
        assert difference < 1e-5


def test_selective_kernels_in_timm(torchvision, tmp_path):
    pytest.importorskip("timm")
    from timm.models.resnet import ResNet
    from timm.models.sknet import SelectiveKernelBottleneck

    model, architecture = make("r50_1x_sk1", 224, num_classes=7)
    write_torch(model, architecture, str(tmp_path / "sk.safetensors"))
    sk = {"kernel_size": [3, 3], "split_input": False, "rd_divisor": 32}
    network = ResNet(
        SelectiveKernelBottleneck,
        [3, 4, 6, 3],
        num_classes=7,
        stem_type="deep",
        stem_width=32,
        avg_down=True,
        block_args={"sk_kwargs": sk},
    )
    same = torch.nn.ZeroPad2d((0, 1, 0, 1))
    network.maxpool = torch.nn.Sequential(same, torch.nn.MaxPool2d(3, 2))
    network.layer1[0].downsample[0] = torch.nn.Sequential(
        torch.nn.ReplicationPad2d((0, 1, 0, 1)), torch.nn.AvgPool2d(2, 1)
    )
    arrays = safetensors.numpy.load_file(tmp_path / "sk.safetensors")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    difference = relative(model(IMAGES)["logits"].numpy(), outputs(network, IMAGES))
    print(f"differs by {difference:.1e}")
    assert difference < 1e-5


def test_pickles_with_more_than_arrays(tmp_path):
    torch.save({"model": pathlib.Path("x")}, tmp_path / "network.pth")
    with pytest.raises(
        InputError, match=r"contains more than arrays, or is damaged .*; convert it"
    ) as raised:
        read_arrays(str(tmp_path / "network.pth"))
    assert "\n" not in str(raised.value)
