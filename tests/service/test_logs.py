"""Log lines: one per event, without the messages of unexpected errors."""

from __future__ import annotations

import json
import logging

import pytest

from service.logs import OneLine


def make_record(**extra) -> logging.LogRecord:
    record = logging.LogRecord("service.x", logging.INFO, __file__, 1, "answered %s", ("twice",), None)
    record.__dict__.update(extra)
    return record


def test_text_lines_hold_the_extras():
    line = OneLine("text").format(make_record(status=201, route="/v1/comments"))

    assert line.endswith(' info service.x answered twice status=201 route="/v1/comments"')


def test_json_lines_are_json():
    event = json.loads(OneLine("json").format(make_record(status=201)))

    assert tuple(event[k] for k in ("event", "status", "level", "from")) == ("answered twice", 201, "info", "service.x")


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_error_is_its_types_and_places_on_one_line(form):
    record = make_record(note="two\nlines")
    try:
        try:
            int("secret words")
        except ValueError as cause:
            raise RuntimeError("more secret words") from cause
    except RuntimeError as error:
        record.exc_info = (RuntimeError, error, error.__traceback__)
    line = OneLine(form).format(record)

    assert "RuntimeError from ValueError" in line
    assert "test_logs.py" in line
    assert "secret" not in line
    assert "\n" not in line
