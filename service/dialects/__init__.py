"""The protocols of other products that the service answers, each one module.

A dialect turns what its clients send into the same :class:`~moderation.comment.Comment` that the native API takes, and
the same :class:`~moderation.comment.Decision` into what its clients understand. It has its own place for keys, its own
errors and its own words for a fault. What they do alike is in :mod:`service.dialects.intake`.
"""

from __future__ import annotations

from service.dialects import perspective
from service.dialects.intake import Dialect

DIALECTS: tuple[Dialect, ...] = (perspective.DIALECT,)


def find_dialect(path: str) -> Dialect | None:
    """The dialect that answers under that path."""
    return next((dialect for dialect in DIALECTS if dialect.owns(path)), None)
