"""Lock files as uv writes them, without packages that nothing needs any more."""

import re
from collections.abc import Iterable


def without(lock: str, names: Iterable[str], project: str) -> str:
    """The lock without these direct dependencies, and without what only they needed.

    Args:
        lock: content of the file.
        names: packages that `pyproject.toml` no longer names.
        project: name of the project, as the lock's comments have it.
    """
    head, *blocks = re.split(r"(?m)^(?=[a-z0-9])", lock)
    needed_by = {block: _needed_by(block) for block in blocks}
    removed = set(names)
    for block, reasons in needed_by.items():
        if _package(block) in removed:
            reasons -= {reason for reason in reasons if reason.startswith(f"{project} (")}
    gone: set[str] = set()
    while now := {block for block, reasons in needed_by.items() if not reasons and block not in gone}:
        gone |= now
        packages = {_package(block) for block in now}
        for reasons in needed_by.values():
            reasons -= {reason for reason in reasons if reason.partition("[")[0] in packages}
    return head + "".join(_with_reasons(block, needed_by[block]) for block in blocks if block not in gone)


def _package(block: str) -> str:
    return re.split(r"[=\[ ]", block, maxsplit=1)[0]


def _needed_by(block: str) -> set[str]:
    comments = re.findall(r"(?m)^    #(?: via|  ) (.*)$", block)
    return set(comments)


def _with_reasons(block: str, reasons: set[str]) -> str:
    if reasons == _needed_by(block):
        return block
    pins = "".join(line for line in block.splitlines(keepends=True) if not line.startswith("    #"))
    if len(reasons) == 1:
        return f"{pins}    # via {reasons.pop()}\n"
    return pins + "    # via\n" + "".join(f"    #   {reason}\n" for reason in sorted(reasons))
