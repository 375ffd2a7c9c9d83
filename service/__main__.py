"""``python -m service``: the ``moderation`` command by the interpreter that is running, wherever scripts lie."""

from __future__ import annotations

from service.cli import app

if __name__ == "__main__":
    app(prog_name="moderation")
