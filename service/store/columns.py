"""What the tables are made of: columns that mean the same on SQLite and PostgreSQL, and the list of all tables.

:data:`metadata` is complete once :mod:`service.store` is imported.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Dialect, ForeignKey, Integer, MetaData, String, TypeDecorator

# Named constraints, because a later migration can only change what has a name.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly this type.
ROW_ID = BigInteger().with_variant(Integer, "sqlite")
JSON_VALUE = JSON(none_as_null=True)
DIGEST = String(64)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC. SQLite forgets the zone, so it goes in as UTC and comes out as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; naive on SQLite."""
        if value is None:
            return None
        return value.astimezone(UTC).replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002  # the signature is SQLAlchemy's
        """Back to UTC, with the zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def row_id() -> Column[int]:
    """The number of a row, which the database gives."""
    return Column("id", ROW_ID, primary_key=True)


def to(target: str, name: str, *, nullable: bool = False, ondelete: str | None = None) -> Column[Any]:
    """A reference to a row of another table."""
    return Column(name, ForeignKey(target, ondelete=ondelete), nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> Column[datetime]:
    """A moment in UTC."""
    return Column(name, Utc(), nullable=nullable)
