"""The store: every table and every query, for SQLite and PostgreSQL alike.

With ``service/migrations`` the only place that imports SQLAlchemy. All methods may raise ``StoreBusy`` and
``StoreUnavailable``; each is one transaction.
"""

from __future__ import annotations

from service.store.campaigns import CAMPAIGN_HOURS
from service.store.queries import Store
from service.store.queue import CLAIM_SECONDS, MAX_PAGE
from service.store.reading import Brief, History, Place, PostRead, Surroundings, VersionRead
from service.store.records import (
    Appeal,
    AuditDraw,
    Change,
    Context,
    Judge,
    Judged,
    Judgement,
    KeyDates,
    Known,
    LogEntry,
    Moderator,
    Priority,
    QueueEntry,
    QueueFilter,
    QueuePage,
    Session,
    Site,
    StatusChange,
    Stored,
    StoredKey,
    Target,
    Verdict,
    Why,
    may_be_id,
)

__all__ = [
    "CAMPAIGN_HOURS",
    "CLAIM_SECONDS",
    "MAX_PAGE",
    "Appeal",
    "AuditDraw",
    "Brief",
    "Change",
    "Context",
    "History",
    "Judge",
    "Judged",
    "Judgement",
    "KeyDates",
    "Known",
    "LogEntry",
    "Moderator",
    "Place",
    "PostRead",
    "Priority",
    "QueueEntry",
    "QueueFilter",
    "QueuePage",
    "Session",
    "Site",
    "StatusChange",
    "Store",
    "Stored",
    "StoredKey",
    "Surroundings",
    "Target",
    "Verdict",
    "VersionRead",
    "Why",
    "may_be_id",
]
