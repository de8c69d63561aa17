"""Every setting can come from a file, which `<SETTING>_FILE` names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from src.settings import Settings
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what the shell that runs the tests has set."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.delenv(f"{name.upper()}_FILE", raising=False)


def test_every_setting_can_name_a_file_and_every_mistake_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"{name.upper()}_FILE", "/nowhere")
    with pytest.raises(ValidationError) as caught:
        Settings()
    told = {error["loc"][0]: error["msg"] for error in caught.value.errors()}
    assert set(told) == set(Settings.model_fields)
    for setting, message in told.items():
        assert f"{str(setting).upper()}_FILE names /nowhere, which can't be read" in message


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("max_upload_mb", b"7\n", 7),
        ("debug", b"true", True),
        ("redis_url", b"redis://a b \n\n", "redis://a b "),
        ("log_level", b"", "info"),
        ("rq_queues", b"urgent,other", ("urgent", "other")),
        ("allowed_hosts", b"a.example\nb.example\n", ("a.example", "b.example")),
        ("cors_origins", b"https://a.example, https://b.example", ("https://a.example", "https://b.example")),
    ],
)
def test_the_last_line_breaks_of_a_file_are_not_part_of_the_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes, value: object
) -> None:
    (tmp_path / "file").write_bytes(content)
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "file"))
    assert getattr(Settings(), name) == value


def test_the_repr_of_the_settings_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://app@host/app")
    for name in ("DATABASE_PASSWORD", "REDIS_PASSWORD", "API_KEYS"):
        monkeypatch.setenv(name, "hidden-from-view")
    settings = Settings()
    assert "hidden-from-view" in settings.database_url
    assert "hidden-from-view" in settings.redis_url
    assert "hidden-from-view" not in repr(settings) + str(settings)


def test_the_error_about_a_key_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in ("hunter2:read", "me:all:hunter2", "me:read:hunter2:x", "::hunter2", "m/e:read:hunter2"):
        monkeypatch.setenv("API_KEYS", f"good,{entry}")
        with pytest.raises(ValidationError, match="entry 2 is neither a key") as caught:
            Settings()
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("content", "reason"), [(b"\xff\xfe", "UTF-8"), (None, "Is a directory")])
def test_a_file_that_cannot_be_used_is_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "file"
    file.mkdir() if content is None else file.write_bytes(content)
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(file))
    with pytest.raises(ValidationError, match=reason):
        Settings()


WRONG_URLS = {
    "http://:hunter2@host/0": "REDIS_URL is wrong: http://host/0 is neither redis://host/0",
    "redis://:hunter2@host:99999/0": "REDIS_URL is wrong: the port in redis://host:99999/0 is not one",
    "redis://:hun/ter2@host/0": "REDIS_URL is wrong: the port in redis://host/0 is not one",
    "hunter2@host": "REDIS_URL is wrong: host is not a URL",
}


@pytest.mark.parametrize("url", WRONG_URLS)
@pytest.mark.parametrize("module", ["src.rq_worker", "rq.cli info -c src.kit.queue.rq_config"])
def test_a_wrong_redis_url_is_named_without_its_password(url: str, module: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *module.split()], cwd=ROOT, env=os.environ | {"REDIS_URL": url},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = result.stdout + result.stderr
    assert result.returncode
    assert WRONG_URLS[url] in said
    assert not any(word in said for word in ("Traceback", "hunter2", "ter2", "hun/")), said
