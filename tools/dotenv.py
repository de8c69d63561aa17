"""`.env`: made from `.env.example`, and read as Compose reads it."""

import re
from pathlib import Path

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(['"])(.*?)(?<!\\)\1\s*(?:#.*)?""")


def read(path: Path) -> dict[str, str]:
    """The variables in a `.env` file, none if there is no such file.

    Plain, quoted and exported values and comments mean what they mean to Compose; `${OTHER}` is not expanded.
    """
    if not path.is_file():
        return {}
    lines = path.read_text("utf-8-sig").splitlines()
    matches = filter(None, map(_ASSIGNMENT.fullmatch, lines))
    return {match[1]: _value(match[2]) for match in matches}


def _value(text: str) -> str:
    if quoted := _QUOTED.fullmatch(text):
        return quoted[2] if quoted[1] == "'" else quoted[2].replace('\\"', '"')
    return re.sub(r"(^|\s+)#.*", "", text).strip()


def create(path: Path, example: Path) -> bool:
    """Make `path` from `example` unless it exists, for its owner only; return whether it was made."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            path.chmod(0o600)
            file.write(example.read_text("utf-8"))
    except FileExistsError:
        return False
    return True


def write(path: Path, name: str, value: str) -> None:
    """Set a variable in an existing `.env`: in its line if there is one, else in a new line."""
    lines = path.read_text("utf-8-sig").splitlines()
    matches = [_ASSIGNMENT.fullmatch(line) for line in lines]
    found = [number for number, match in enumerate(matches) if match and match[1] == name] or [len(lines)]
    lines[found[-1] : found[-1] + 1] = [f"{name}={value}"]
    path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
