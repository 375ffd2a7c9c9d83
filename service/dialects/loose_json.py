"""JSON as people write it by hand, as Google's servers read it: bare names, single quotes, a comma before the end.

Google's own examples for curl are written like that. Whatever else JSON has not is refused, and a body of any kind
takes time in proportion to its length.
"""

from __future__ import annotations

import json
import re
from typing import Any

from service.dialects.intake import read_any_json
from service.errors import InvalidRequest

# A quotation without an end goes on to that of the body, and a name is taken whole, so that nothing is read twice.
_TOKEN = re.compile(
    r"""
    (?P<double> " (?: [^"\\] | \\. )*+ "? )
    | (?P<single> ' (?: [^'\\] | \\. )*+ '? )
    | (?P<name> [A-Za-z_$] [\w$]*+ ) (?P<colon> \s*+ : )?
    | (?P<comma> , ) (?= \s*+ [}\]] )
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_SINGLE = re.compile(r'\\(?P<escaped>.)|"', re.DOTALL)


def read_loose_json(body: bytes) -> Any:
    """Decode a body, in JSON or as above. Raises ``InvalidRequest``, which says what is wrong with it as JSON."""
    try:
        return read_any_json(body)
    except InvalidRequest as error:
        try:
            return read_any_json(_TOKEN.sub(_write_token, body.decode()).encode())
        except (UnicodeDecodeError, InvalidRequest):
            raise error from None


def _write_token(found: re.Match[str]) -> str:
    if found["single"] is not None:
        said = found["single"]
        return f'"{_IN_SINGLE.sub(_write_escaped, said[1:-1])}"' if len(said) > 1 and said.endswith("'") else said
    if found["name"] is not None:
        return found[0] if found["colon"] is None else f"{json.dumps(found['name'])}{found['colon']}"
    return "" if found["comma"] is not None else found[0]


def _write_escaped(found: re.Match[str]) -> str:
    """A character of a text in single quotes as it stands in double ones."""
    if found["escaped"] is None:
        return '\\"'
    return "'" if found["escaped"] == "'" else found[0]
