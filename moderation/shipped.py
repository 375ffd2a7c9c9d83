"""Where the data that comes with the software lies: the published bundle, the behaviour cases, the catalogue."""

from __future__ import annotations

from pathlib import Path


def shipped_folder(name: str) -> Path:
    """The folder ``models`` or ``training_data``: packaged when installed, at the top level in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "shipped_data" / name
    return packaged if packaged.is_dir() else here.parent / name
