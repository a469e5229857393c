"""Write docs/flags.md and docs/recipes.md from the settings and the recipes: `make docs`."""

import importlib
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from simclr_keras.commands.main import COMMANDS, STAGES  # noqa: E402
from simclr_keras.config.command_line import FILE_FLAGS, describe, fields_by_name  # noqa: E402
from simclr_keras.config.modes import MODES  # noqa: E402
from simclr_keras.config.recipes import RECIPES  # noqa: E402

# The settings of all commands but the stages, by name.
SETTINGS = {
    name: importlib.import_module(entry.module).COMMAND.settings
    for name, entry in COMMANDS.items()
    if entry.module != STAGES
}
# Flags that a command needs beside its recipe.
ADDED = {"finetune": " --init=RUN", "linear_eval": " --init=RUN", "distill": " --teacher=RUN"}

NOTE = "<!-- Written by docs/generate.py; run `make docs` after a change. -->"


def flags_page() -> str:
    """Return docs/flags.md: all flags of the stages by group, then those of the other commands."""
    parts = [
        "# Flags",
        NOTE,
        "Every flag is written `--name=value`. `simclr finetune --help` lists the flags of one stage. Every command "
        "also has these:",
        "\n".join(
            ["| flag | meaning |", "|---|---|", *(f"| `--{n}` | {text} |" for n, text in FILE_FLAGS.items())]
        ),
    ]
    programs = {"simclr STAGE": MODES} | {f"simclr {name}": {name: cls} for name, cls in SETTINGS.items()}
    for program, stages in programs.items():
        parts.append(f"## {program}")
        groups: dict[str, list[str]] = {}
        for name, fields in fields_by_name(stages).items():
            group = next(iter(fields.values())).metadata["group"]
            text = describe(fields, len(stages)).replace("|", "\\|")
            groups.setdefault(group, []).append(f"| `--{name}` | {text} |")
        for group, rows in groups.items():
            parts.append("\n".join([f"### {group}", "", "| flag | meaning |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def recipes_page() -> str:
    """Return docs/recipes.md: every recipe with its stage, its source and its values."""
    parts = [
        "# Recipes",
        NOTE,
        "A recipe fills in values; any flag beside it wins. The files in `simclr_keras/config/recipes/` "
        "show the arithmetic behind the numbers.",
    ]
    for name, recipe in RECIPES.items():
        values = ", ".join(f"`{key}={value}`" for key, value in recipe.values.items())
        added = ADDED.get(recipe.mode, "" if "dataset" in recipe.values else " --dataset=folder:photos")
        added = " --init=RUN" + added if name == "photos_continue" else added
        command = f"simclr {recipe.mode} --recipe={name}{added}"
        parts.append(f"## {name}\n\n{recipe.about}\n\n    {command}\n\n{values}")
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Return the generated pages by file name."""
    return {"flags.md": flags_page(), "recipes.md": recipes_page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (ROOT / "docs" / name).write_text(text)
