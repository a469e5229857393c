"""`simclr COMMAND`: the table of all commands. Imports the module of the one that runs, and no other."""

import dataclasses
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from simclr_keras.config import command_line
from simclr_keras.config.option import nearest
from simclr_keras.errors import InputError
from simclr_keras.version import __version__


class Entry(NamedTuple):
    """The place of a command.

    Attributes:
        about: one line for the list of commands.
        module: contains COMMAND, or the function `main(argv)` of the stages.
    """

    about: str
    module: str


STAGES = "simclr_keras.commands.train"
COMMANDS = {
    "fit": Entry("photos and labels to the best classifier, with a page", "simclr_keras.commands.fit"),
    "pretrain": Entry("learn features from images, without labels", STAGES),
    "finetune": Entry("train a pretrained network further, on few labels", STAGES),
    "distill": Entry("train a network to imitate a classifier, on all images", STAGES),
    "supervised": Entry("train the same networks from scratch, on labels alone", STAGES),
    "linear_eval": Entry("train a linear classifier on frozen features", STAGES),
    "knn": Entry("classify by the nearest neighbors in feature space", STAGES),
    "eval": Entry("measure the accuracy of a classifier", STAGES),
    "export": Entry("write a network as SavedModel, .keras, LiteRT or ONNX", "simclr_keras.commands.export"),
    "export_torch": Entry("write an encoder for torchvision and timm", "simclr_keras.tools.export_torch"),
    "embed": Entry("write the vectors of images", "simclr_keras.tools.embed"),
    "predict": Entry("print the most probable classes of images", "simclr_keras.tools.predict"),
    "visualize": Entry("draw nearest neighbors and a map of images", "simclr_keras.tools.visualize"),
    "report": Entry("print a table and draw a chart of runs", "simclr_keras.tools.report"),
    "import": Entry("make a run of published weights", "simclr_keras.tools.import_published"),
    "verify": Entry("measure the accuracy of published weights", "simclr_keras.tools.verify_published"),
    "demo": Entry("run the whole method on small images of digits", "simclr_keras.commands.demo"),
    "doctor": Entry("list versions, devices, caches and missing packages", "simclr_keras.commands.doctor"),
}

# For bash, and for zsh after `autoload bashcompinit && bashcompinit`.
COMPLETION = """\
_simclr() {
  local word=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=($(compgen -W "$(simclr --words "${COMP_WORDS[@]:1:COMP_CWORD-1}")" -- "$word"))
}
complete -o default -o nospace -F _simclr simclr"""


def words_after(words: Sequence[str]) -> list[str]:
    """Return what may follow the words of a command line: commands, then the flags of one."""
    if not words:
        return list(COMMANDS)
    entry = COMMANDS.get(words[0])
    if entry is None:
        return []
    module = importlib.import_module(entry.module)
    settings = module.MODES[words[0]] if entry.module == STAGES else module.COMMAND.settings
    names = [*(field.name for field in dataclasses.fields(settings)), *command_line.FILE_FLAGS]
    return [f"--{name}=" for name in (["recipe", *names] if entry.module == STAGES else names)]


def help_text() -> str:
    """Return the list of commands."""
    lines = ["simclr COMMAND --FLAG=VALUE ...", "", "Trains, evaluates and exports SimCLRv2 networks.", ""]
    lines += [f"  {name:<14}{entry.about}" for name, entry in COMMANDS.items()]
    lines += [
        "",
        "simclr COMMAND --help lists the flags of a command; simclr --version prints the version.",
        'eval "$(simclr --completion)" lets bash complete commands and flags.',
    ]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Run the command that the first word names, or print the list of commands; refuse an unknown one."""
    name, *words = argv[1:] or ["--help"]
    if name in (*command_line.HELP_FLAGS, "help"):
        print(help_text())
        return
    if name in ("--version", "--completion", "--words"):
        texts = {"--version": f"simclr_keras {__version__}", "--completion": COMPLETION}
        print(texts[name] if name in texts else "\n".join(words_after(words)))
        return
    if name not in COMMANDS:
        raise InputError(f"{name} is no command: {nearest(name, COMMANDS)}")
    program, entry = f"simclr {name}", COMMANDS[name]
    module = importlib.import_module(entry.module)
    if entry.module != STAGES:
        module.COMMAND.main([program, *words])
        return
    if any(word.lstrip("-").partition("=")[0] == "mode" for word in words if word.startswith("-")):
        raise InputError(f"--mode is the command itself: leave it out of {program}, or give another command.")
    module.main([program, f"--mode={name}", *words])


def script() -> None:
    """Run `simclr` with the words of this process, and end the process."""
    name = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in COMMANDS else ""
    command_line.leave(command_line.run(main, sys.argv, f"simclr {name}".rstrip()))
