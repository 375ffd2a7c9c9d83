"""One line per event, as text or JSON. Never comment text, author names or keys.

Callers pass a fixed sentence and put what varies into ``extra``. Of an unexpected error only its type and where it
happened are written, because its message may quote what was being worked on.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "color_message"}


class OneLine(logging.Formatter):
    """Time, level, logger, sentence, then ``key=value`` pairs or one JSON object."""

    def __init__(self, form: Literal["text", "json"]) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """The record without line breaks, whatever is in it."""
        event: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "event": record.getMessage(),
        }
        event |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            event |= describe_error(record.exc_info[1])
        if self._form == "json":
            return json.dumps(event, default=str)
        head = " ".join(str(event.pop(name)) for name in ("at", "level", "from", "event"))
        pairs = "".join(f" {name}={json.dumps(value, default=str)}" for name, value in event.items())
        return (head + pairs).replace("\r", " ").replace("\n", " ")


def describe_error(error: BaseException) -> dict[str, str]:
    """An error's type, its causes' types and where it was raised; not its message."""
    types = []
    cause: BaseException | None = error
    while cause is not None:
        types.append(type(cause).__name__)
        cause = cause.__cause__
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames[-6:]]
    return {"error": " from ".join(types), "where": " > ".join(places)}


def configure_logs(form: Literal["text", "json"]) -> None:
    """Send everything from INFO up to standard error, one line each. Called by ``moderation serve`` only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(form))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    # Alembic tells at each start what it would do on a database of this kind.
    logging.getLogger("alembic").setLevel(logging.WARNING)
