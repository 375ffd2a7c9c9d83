"""The statuses of a comment and the moves allowed between them: one table, read by everything that writes one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from moderation.comment import Action

Status = Literal["published", "held", "rejected", "erased"]

STATUS_AFTER: Mapping[Action, Status] = {"publish": "published", "hold": "held", "reject": "rejected"}

# ``None`` is a comment not seen before. Erasure is final: what was erased cannot come back under the same id.
MOVES: Mapping[Status | None, frozenset[Status]] = {
    None: frozenset({"published", "held", "rejected"}),
    "published": frozenset({"held", "rejected", "erased"}),
    "held": frozenset({"published", "rejected", "erased"}),
    "rejected": frozenset({"published", "held", "erased"}),
    "erased": frozenset(),
}
