"""Clients that nobody changed for us, on a real service; and callers who send whatever a description permits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# The same as in tests/service; a site of one's own keeps tests out of each other's way.
from tests.service.conftest import plain_home, shared_service, start

__all__ = ["plain_home", "shared_service", "start"]

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="session")
def call_as_described() -> Callable[..., Counter[int]]:
    """Calls every route of one tag of the OpenAPI description with whatever it permits, and with what it does not.

    ``is_error`` is asked about every answer that is no success: whether it has the dialect's shape. Statuses, content
    types and bodies must be those of the description, and none may be 500 or more. Returns how often which status came.
    """

    def call(
        url: str,
        tag: str,
        is_error: Callable[[httpx.Response], bool],
        *,
        headers: Mapping[str, str] | None = None,
        examples: int = 10,
    ) -> Counter[int]:
        description = httpx.get(f"{url}/openapi.json").json()
        operations = [found.ok() for found in load(description, url, tag)]
        assert operations, f"no route has the tag {tag}"
        statuses: Counter[int] = Counter()
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                cases = operation.as_strategy(generation_mode=mode)

                @settings(
                    max_examples=examples,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=cases)
                def try_one(case: Any) -> None:
                    answer = case.call(headers=dict(headers or {}))
                    statuses[answer.status_code] += 1
                    case.validate_response(answer, checks=CHECKS)
                    assert answer.status_code < 400 or is_error(answer), answer.text

                try_one()
        return statuses

    return call


def load(description: Mapping[str, Any], url: str, tag: str) -> list[Any]:
    schema = schemathesis.openapi.from_dict(dict(description))
    schema.config.update(base_url=url)
    return list(schema.include(tag=tag).get_all_operations())
