"""A client's request id is used if it is safe to write anywhere; otherwise there is a new one."""

import pytest

from src.kit import request_id

SAFE = [
    "a", "x" * 128, "0af7651916cd43dd8448eb211c80319c", "Root=1-67891233-abcdef012345678912345678",
    "a/b:c+d.e~f_g",
]  # fmt: skip
UNSAFE = [
    None, "", "x" * 129, "two words", "line\nbreak", "id\n", 'quo"te', "<b>", "é", "{}", "a,b", "a;b", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("sent", SAFE)
def test_a_safe_id_is_used(sent: str) -> None:
    assert request_id.accept(sent) == sent


@pytest.mark.parametrize("sent", UNSAFE)
def test_any_other_is_replaced_by_a_new_one(sent: str | None) -> None:
    first, second = request_id.accept(sent), request_id.accept(sent)
    assert first != second
    assert sent not in (first, second)
    assert request_id.accept(first) == first
