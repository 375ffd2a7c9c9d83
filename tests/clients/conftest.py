"""Clients that nobody changed for us, on a real service."""

from __future__ import annotations

# The same as in tests/service; a site of one's own keeps tests out of each other's way.
from tests.service.conftest import plain_home, shared_service, start

__all__ = ["plain_home", "shared_service", "start"]
