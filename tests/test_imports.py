"""Imports point one way, and importing costs only what is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def loaded_after(code: str) -> set[str]:
    """Top-level names of all modules that a fresh interpreter has loaded after running ``code``."""
    show = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{show}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


LEARNING = {"sklearn", "scipy", "torch", "transformers", "onnx", "pandas", "pyarrow", "joblib"}
READING = {"onnxruntime", "tokenizers"}
SERVING = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic"}

BUDGETS = {
    "import moderation": LEARNING | READING | SERVING | {"numpy", "nltk", "pydantic", "service"},
    "import moderation.policy": LEARNING | READING | SERVING | {"numpy", "nltk", "pydantic", "service"},
    "import moderation.model": LEARNING | READING | SERVING | {"pydantic", "service"},
    "import moderation.bundle": LEARNING | READING | SERVING | {"pydantic", "service"},
    "import moderation.training.train": READING | SERVING | {"torch", "transformers", "onnx", "matplotlib", "service"},
    "import service": LEARNING | READING | SERVING | {"numpy", "moderation"},
    "import service.settings": LEARNING | READING | SERVING | {"numpy", "nltk"},
    "import service.cli": LEARNING | READING | SERVING | {"numpy", "nltk"},
    "import service.app": READING | (LEARNING - {"scipy"}),
}


@pytest.mark.parametrize("code", BUDGETS)
def test_an_import_loads_no_more_than_it_needs(code):
    assert set() == loaded_after(code) & BUDGETS[code]


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["serve", "--help"], ["score", "--help"], ["train", "--help"], ["train-encoder", "--help"]],
)
def test_help_answers_without_loading_anything_heavy(arguments):
    code = f"from service.cli import app\ntry:\n    app({arguments!r}, prog_name='moderation')\nexcept SystemExit: pass"

    assert set() == loaded_after(code) & (LEARNING | READING | SERVING | {"numpy", "nltk"})


def test_importing_does_nothing(tmp_path):
    """No file, thread, engine or log configuration comes from an import."""
    code = (
        "import logging, pathlib, threading\n"
        "import service.app, service.cli, service.store, moderation.bundle\n"
        "assert threading.active_count() == 1\n"
        "assert not logging.getLogger().handlers\n"
        f"assert not list(pathlib.Path({str(tmp_path)!r}).iterdir())\n"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "PATH": ""}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60)
