"""The documents keep up with the code: every command is described, every link leads somewhere, the README is true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("integrations/**/*.md"),
    *ROOT.glob("training_data/**/*.md"),
]


def commands(
    group: typer.main.TyperCommand | typer.main.TyperGroup, path: str = "moderation"
) -> Iterator[tuple[str, object]]:
    for name, command in getattr(group, "commands", {}).items():
        if getattr(command, "commands", None):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def all_commands() -> list[tuple[str, object]]:
    from service.cli import app

    return list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("name", "command"), all_commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_is_documented_and_teaches(name, command):
    assert f"`{name}" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert command.help
    for option in command.params:
        assert getattr(option, "help", None), f"{name}: {option.name} has no help"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    pictures = re.findall(r'(?:src|srcset)="([^"]+)"', outside)
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", outside) + pictures:
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def blocks(language: str) -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


def test_the_python_of_the_readme_runs_as_printed():
    [code] = blocks("python")
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "publish"


def test_the_curl_lines_of_the_readme_work_as_printed(shipped_service):
    """Against a running service, with its key and address put in the place of those printed."""
    console = "".join(block for block in blocks("console") if "curl" in block)
    script = re.sub(r"^\$ ", "", console, flags=re.MULTILINE)
    script = script.replace("3f81c02b...", shipped_service.key).replace("http://127.0.0.1:8000", shipped_service.url)
    script = "set -e\n" + script.replace("curl -s ", "curl -s -w '\\n%{http_code}\\n' ")
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={**os.environ}, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert re.findall(r"^\d{3}$", result.stdout, flags=re.MULTILINE) == ["202", "200", "200"], result.stdout


def test_the_score_line_of_the_readme_works_as_printed():
    line = next(line for block in blocks("console") for line in block.splitlines() if "score --text" in line)
    arguments = shlex.split(
        line.removeprefix("$ ").replace(".venv/bin/moderation", str(Path(sys.executable).with_name("moderation")))
    )
    result = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("hold ")
