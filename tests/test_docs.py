"""README.md, CONTRIBUTING.md and docs/: links, commands, Python blocks and generated pages are right."""

import pathlib
import re
import runpy
import shlex
import shutil

import pytest

import export
import train
from simclr_keras.commands.main import COMMANDS, STAGES
from simclr_keras.config import command_line
from simclr_keras.errors import InputError
from tests.training.tiny import make_tiny

ROOT = pathlib.Path(__file__).parents[1]
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")]
PAGES += sorted((ROOT / "docs").glob("*.md"))


def test_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.encode()) <= 8192


def test_links_resolve():
    broken = []
    for page in PAGES:
        prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if "://" in target:
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.exists() or (anchor and anchor not in _anchors(file)):
                broken.append(f"{page.name}: {target}")
    assert not broken


def _anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands(page):
    """The shell commands of a page: indented lines, continued by a backslash, and whole commands in backticks."""
    text = page.read_text()
    joined = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(r"^    ((?:python|make|simclr) .*)$", joined, re.MULTILINE)
    lines += re.findall(r"`((?:python|make) [^`]*|simclr [^`]*=[^`]*)`", text)
    return [line.split("     #")[0].split("  #")[0].strip() for line in lines]


def test_commands_parse():
    commands = {command for page in PAGES for command in _commands(page)}
    assert len(commands) > 20
    wrong = {}
    for command in sorted(commands):
        try:
            _parse(shlex.split(re.sub(r"\b(DIR|RUN|NAME|S)\b(\.\.\.)?", "x", command)))
        except (InputError, AssertionError, FileNotFoundError) as error:
            wrong[command] = str(error)
    assert not wrong


def _parse(words):
    program, *rest = words
    if rest[:2] == ["-m", "benchmarks.run"]:
        rest = ["benchmarks/run.py", *rest[2:]]
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(rest) <= set(targets), f"no such target: {rest}"
    elif program == "simclr":
        _parse_command(*rest)
    elif "--help" in rest:
        assert (ROOT / rest[0]).exists()
    elif rest[0] == "train.py":
        train.read_flags(rest)
    elif rest[0] == "export.py":
        _parse_command("export", *rest[1:])
    elif rest[0] == "-m":
        modules = {entry.module: [name] for name, entry in COMMANDS.items()} | {"simclr_keras": []}
        _parse_command(*modules[rest[1]], *rest[2:])
    else:
        source = (ROOT / rest[0]).read_text()
        flags = [word[2:].partition("=")[0] for word in rest[1:] if word.startswith("--")]
        assert all(flag in source for flag in flags), f"{rest[0]} has no flag of {flags}"


def _parse_command(name="COMMAND", *words):
    assert name in COMMANDS or name in ("COMMAND", "STAGE") or name[0] == "-", f"no command {name}"
    # Other words are paths, which predict and report take.
    flags = [word for word in words if word.startswith("-") and not word.startswith("--save_config")]
    if name not in COMMANDS or "--help" in flags or any(flag.startswith("--config") for flag in flags):
        return
    if COMMANDS[name].module == STAGES:
        train.read_flags([name, f"--mode={name}", *flags])
    else:
        command_line.read(GENERATE["SETTINGS"][name], [name, *flags])


BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory, finetuned):
    """A folder with runs/photos and exports/photos, as the pages name them."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "runs").mkdir()
    shutil.copytree(finetuned.folder, folder / "runs/photos")
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch)
        export.main(["export.py", f"--run={finetuned.folder}", f"--out={folder / 'exports/photos'}"])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_python_blocks_run(block, photos, tiny, monkeypatch):
    monkeypatch.chdir(photos)
    exec(compile(block, "block", "exec"), {})


def test_generated_pages_are_current():
    pages = GENERATE["pages"]()
    stale = [name for name, text in pages.items() if (ROOT / "docs" / name).read_text() != text]
    assert not stale, f"{', '.join(stale)} differ from the settings: run `make docs`"


def test_no_page_names_a_missing_file():
    missing = []
    for page in PAGES:
        for name in re.findall(r"`([\w-]+/[\w./-]*\.py)`", page.read_text()):
            if not any((folder / name).exists() for folder in (ROOT, ROOT / "simclr_keras")):
                missing.append(f"{page.name}: {name}")
    assert not missing
