"""How many cores the process may use."""

from __future__ import annotations

import os

import pytest

from moderation.cores import count_cores


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 4),
        ("200000 100000\n", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("900000 100000", 4),
        ("1 0", 4),
        ("?", 4),
        (None, 4),
    ],
)
def test_a_quota_counts_where_it_is_less(tmp_path, monkeypatch, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    file = tmp_path / "cpu.max"
    if quota is not None:
        file.write_text(quota, encoding="ascii")

    assert count_cores(file) == cores
