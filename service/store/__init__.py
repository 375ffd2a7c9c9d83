"""The store: every table and every query, for SQLite and PostgreSQL alike.

With ``service/migrations`` the only place that imports SQLAlchemy. All methods may raise ``StoreBusy`` and
``StoreUnavailable``; each is one transaction.
"""

from __future__ import annotations

from service.store.queries import Store
from service.store.records import Context, Judged, KeyDates, Known, Site, StatusChange, Stored, StoredKey

__all__ = ["Context", "Judged", "KeyDates", "Known", "Site", "StatusChange", "Store", "Stored", "StoredKey"]
