"""Write docs/flags.md and docs/recipes.md from the settings and the recipes: `make docs`."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from simclr_keras.config.command_line import describe, fields_by_name  # noqa: E402
from simclr_keras.config.export import ExportConfig  # noqa: E402
from simclr_keras.config.modes import MODES  # noqa: E402
from simclr_keras.config.recipes import RECIPES  # noqa: E402
from simclr_keras.tools.embed import EmbedConfig  # noqa: E402
from simclr_keras.tools.export_torch import ExportTorchConfig  # noqa: E402
from simclr_keras.tools.import_published import ImportConfig  # noqa: E402
from simclr_keras.tools.predict import PredictConfig  # noqa: E402
from simclr_keras.tools.report import ReportConfig  # noqa: E402
from simclr_keras.tools.verify_published import VerifyConfig  # noqa: E402
from simclr_keras.tools.visualize import VisualizeConfig  # noqa: E402

TOOLS = {
    "embed": EmbedConfig,
    "predict": PredictConfig,
    "visualize": VisualizeConfig,
    "report": ReportConfig,
    "export_torch": ExportTorchConfig,
    "import_published": ImportConfig,
    "verify_published": VerifyConfig,
}
# Flags that a command needs beside its recipe.
ADDED = {"finetune": " --init=RUN", "linear_eval": " --init=RUN", "distill": " --teacher=RUN"}

NOTE = "<!-- Written by docs/generate.py; run `make docs` after a change. -->"


def flags_page() -> str:
    """Return docs/flags.md: all flags of train.py by group, then those of export.py."""
    parts = [
        "# Flags",
        NOTE,
        "Every flag is written `--name=value`. `python train.py --mode=finetune --help` shows the "
        "flags of one stage.",
    ]
    programs = {"train.py": MODES, "export.py": {"export": ExportConfig}}
    programs |= {f"python -m simclr_keras.tools.{name}": {name: config} for name, config in TOOLS.items()}
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
        command = f"python train.py --mode={recipe.mode} --recipe={name}{added}"
        parts.append(f"## {name}\n\n{recipe.about}\n\n    {command}\n\n{values}")
    return "\n\n".join(parts) + "\n"


def pages() -> dict[str, str]:
    """Return the generated pages by file name."""
    return {"flags.md": flags_page(), "recipes.md": recipes_page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (ROOT / "docs" / name).write_text(text)
