"""Real clients need a real server: the one of the service's tests."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

# Fixtures are inherited from folders above only, and test folders are no packages.
_SPEC = spec_from_file_location("service_fixtures", Path(__file__).parents[1] / "service" / "conftest.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_fixtures = module_from_spec(_SPEC)
sys.modules["service_fixtures"] = _fixtures
_SPEC.loader.exec_module(_fixtures)

shared_service = _fixtures.shared_service
start = _fixtures.start
