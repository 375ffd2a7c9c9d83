"""Clients that nobody changed for us, on a real service; and callers who send whatever a description permits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

# The same as in tests/service; a site of one's own keeps tests out of each other's way.
from tests.service.conftest import plain_home, shared_service, start

__all__ = ["plain_home", "shared_service", "start"]

# Keys and signatures are ours and not the generator's, and no route here makes anything that another one reads.
_NOT_HERE = {"ignored_auth", "missing_required_header", "use_after_free", "ensure_resource_availability"}


@pytest.fixture(scope="session")
def call_as_described() -> Callable[..., Counter[int]]:
    """Calls the routes of one tag of the OpenAPI description with whatever it permits, and with what it does not.

    Every check of schemathesis must pass but those that are named in ``skipped``: statuses, content types and bodies
    are those of the description, and none is 500 or more. ``is_error`` is asked about every answer that is no success:
    whether it has the dialect's shape. ``headers``, ``auth`` and ``path_parameters`` show who is calling, ``ending``
    keeps to routes that end so. Returns how often which status came.
    """
    load_all_checks()

    def call(
        url: str,
        tag: str,
        *,
        is_error: Callable[[requests.Response], bool] = lambda _: True,
        headers: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
        path_parameters: Mapping[str, str] | None = None,
        ending: str = "",
        skipped: Collection[str] = (),
        examples: int = 60,
    ) -> Counter[int]:
        description = schemathesis.openapi.from_url(f"{url}/openapi.json")
        found = [operation.ok() for operation in description.include(tag=tag).get_all_operations()]
        operations = [operation for operation in found if operation.path.endswith(ending)]
        assert operations, f"no route has the tag {tag}"
        excluded = [CHECKS.get_one(name) for name in _NOT_HERE.union(skipped)]
        statuses: Counter[int] = Counter()
        for operation in operations:

            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=st.one_of(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
            def try_one(case: Case) -> None:
                case.path_parameters |= path_parameters or {}
                answer = case.call(base_url=url, headers=dict(headers or {}), auth=auth)
                statuses[answer.status_code] += 1
                case.validate_response(answer, excluded_checks=excluded)
                assert answer.status_code < 400 or is_error(answer), answer.text

            try_one()
        return statuses

    return call
