"""simclr export_torch: a network as a safetensors file for torchvision and timm."""

import dataclasses

from simclr_keras.config.command import Command
from simclr_keras.config.export import ExportConfig
from simclr_keras.config.option import Settings, again, option
from simclr_keras.config.output_paths import check_file
from simclr_keras.interop.fetching.addresses import check_address

INTRODUCTION = """\
Writes the encoder and the classifier of a run as a safetensors file with the names of torchvision
(plain ResNets) and timm (selective kernels). The file is computed in NumPy and compared with the
network before it gets its name.

  simclr export_torch --run=runs/classifier --out=classifier.safetensors

docs/start_from.md shows how to load it.

Exit codes: 0 done; 1 the file cannot be written, or differs from the network; 2 the command is
wrong."""


@dataclasses.dataclass(frozen=True)
class ExportTorchConfig(Settings):
    """The flags of export_torch."""

    run: str = again(ExportConfig, "run", group="Flags")
    checkpoint: str = again(ExportConfig, "checkpoint", group="Flags")
    ema: bool = again(ExportConfig, "ema", group="Flags")
    out: str = option("", "File to write, NAME.safetensors.", required="give a file to write")
    overwrite: bool = option(False, "Replace an existing file.")

    def validate(self) -> None:
        super().validate()
        check_file(self.out, ".safetensors", self.overwrite)


def export_torch(config: ExportTorchConfig, say=print) -> dict:
    """Write the file; return what `write_torch` returns."""
    from simclr_keras.interop.open_source import open_source
    from simclr_keras.interop.torch_files.write import write_torch

    source = open_source(config.run, config.checkpoint, flag="run", ema=config.ema)
    result = write_torch(source.model(), source.architecture, config.out)
    compared = f"compared in NumPy (differs by {result['difference']:.0e})"
    ema = ", momentum network" if config.ema else ""
    say(f"network  {source.architecture.name}{ema}: {result['arrays']} arrays, {compared}")
    if result["left_out"]:
        say(f"         left out: {len(result['left_out'])} arrays of the projection head and what is on it")
    architecture = source.architecture
    if architecture.pixel_mean is None:
        say("pixels   RGB in [0, 1], without mean and std")
    else:
        say(
            f"pixels   RGB in [0, 1], minus mean {architecture.pixel_mean}, over std {architecture.pixel_std}"
        )
    if architecture.max_pool_padding == "same" and architecture.image_size > 32:
        say("max-pool replace it by nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(3, 2))")
    say(f"wrote    {config.out}")
    return result


COMMAND = Command(
    "export_torch",
    INTRODUCTION,
    ExportTorchConfig,
    export_torch,
    check=lambda config: check_address(config.run, "run", "a training run"),
)

if __name__ == "__main__":
    COMMAND.leave()
