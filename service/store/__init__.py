"""The store: every table and every query, for SQLite and PostgreSQL alike.

With ``service/migrations`` the only place that imports SQLAlchemy. All methods may raise ``StoreBusy`` and
``StoreUnavailable``; each is one transaction.
"""

from __future__ import annotations

from service.store.batch import BINS, Waiting
from service.store.campaigns import CAMPAIGN_HOURS
from service.store.insight import Arrivals, AuditCount, Given, Rating, ReasonCount, Waits
from service.store.queries import Store
from service.store.queue import CLAIM_SECONDS, MAX_PAGE
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
from service.store.verdicts import MOST_TOGETHER

__all__ = [
    "BINS",
    "CAMPAIGN_HOURS",
    "CLAIM_SECONDS",
    "MAX_PAGE",
    "MOST_TOGETHER",
    "Appeal",
    "Arrivals",
    "AuditCount",
    "AuditDraw",
    "Change",
    "Context",
    "Given",
    "Judge",
    "Judged",
    "Judgement",
    "KeyDates",
    "Known",
    "LogEntry",
    "Moderator",
    "Priority",
    "QueueEntry",
    "QueueFilter",
    "QueuePage",
    "Rating",
    "ReasonCount",
    "Session",
    "Site",
    "StatusChange",
    "Store",
    "Stored",
    "StoredKey",
    "Target",
    "Verdict",
    "Waiting",
    "Waits",
    "Why",
    "may_be_id",
]
