"""Tables of inputs in TOML files of this folder."""

import re
import tomllib
from pathlib import Path
from typing import Any


def read_table(name: str) -> dict[str, Any]:
    """The content of a file; in its texts, `<<x*9>>` stands for nine times x."""
    table: dict[str, Any] = _unfold(tomllib.loads(Path(__file__).with_name(name).read_text("utf-8")))
    return table


def _unfold(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unfold(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_unfold(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(r"<<(.+?)\*(\d+)>>", lambda found: found[1] * int(found[2]), value, flags=re.DOTALL)
    return value
