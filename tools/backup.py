"""Backups of the stack's Postgres, on Compose and on Swarm: a file each in `backups/`."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

from tools import docker, project, swarm
from tools.console import ToolError, say
from tools.containers import OURS

FOLDER = project.ROOT / "backups"

_NAME = "%Y-%m-%dT%H-%M-%SZ.dump"
_TIMED = "/var/lib/postgresql/backups"
"""The folder of the service `backup`."""

_CERTIFICATES = "/var/tmp"  # noqa: S108  where the edge has the folder `caddy`, in a volume

_DUMP = "pg_dump -U app -d app --format custom"
_FUNCTIONS = r"""set -eo pipefail
ask() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 -U "$@"; }
# Without the comments on extensions: each needs the extension's owner, who may be the superuser.
statements() {
    echo 'SET client_min_messages = warning;'
    pg_restore --no-owner --file - | sed -e '/^COPY /,$b' -e '/^COMMENT ON EXTENSION /d'
}
"""
# All of it or nothing: without COMMIT at the end, what psql has read so far changes nothing. What the
# superuser owns, such as its extensions, stays, unless that is `app`, as in volumes of earlier versions.
_RESTORE = """{
    cat <<'EOF'
BEGIN;
DO $$ BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = 'app') THEN
        DROP SCHEMA public CASCADE;
        CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    ELSE
        DROP OWNED BY app CASCADE;
    END IF;
END $$;
EOF
    statements
    echo 'COMMIT;'
} | ask app -d app --output /dev/null"""

# Counts the rows of each table of the restored copy, and drops it in any case. `app` may not create it.
_CHECK = r"""superuser=$(ask app -d app -Atc 'SELECT rolname FROM pg_roles WHERE oid = 10')
dropdb -U $superuser --if-exists backup_check 2>/dev/null || true
trap 'dropdb -U $superuser backup_check' EXIT
createdb -U $superuser --owner app --template template0 backup_check
ask app -d app -Atc "SELECT format('CREATE EXTENSION IF NOT EXISTS %I;', extname) FROM pg_extension
    WHERE extowner = 10 AND oid >= 16384" | ask $superuser -d backup_check
statements | ask app -d backup_check --output /dev/null
ask app -d backup_check -At -F ': ' <<'EOF'
SELECT format('SELECT %L, count(*) FROM %I.%I', tablename, schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1 \gexec
EOF"""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def backup() -> int:
    """Write the whole database into a new file, while the stack keeps running; print its name.

    Raises:
        ToolError: the stack's Postgres does not run here, or writing failed.
    """
    stack = _Stack()
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    file = FOLDER / f"{datetime.now(UTC):{_NAME}}"
    _save(file, stack.postgres(), "sh", "-c", _DUMP)
    if project.environment().get("SITE") and (edge := stack.container("edge")):
        _save(file.with_suffix(".edge.tar"), edge, "tar", "c", "-C", _CERTIFICATES, "caddy")
    return 0


def _save(file: Path, container: str, *command: str) -> None:
    """Write what a command prints in a container into a file that only its owner can read, or no file."""
    part = file.with_suffix(".part")
    try:
        part.touch(mode=0o600)
        with part.open("wb") as output:
            result = subprocess.run(["docker", "exec", container, *command], stdout=output, check=False)
            os.fsync(output.fileno())
        if result.returncode:
            raise ToolError("The backup was not written; the lines above say why.")
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    say(f"{file.relative_to(project.ROOT)}: {file.stat().st_size:,} bytes.")


def restore() -> int:
    """Replace the present data with that of the backup FILE; the API and the workers stop meanwhile.

    Raises:
        ToolError: FILE is not a backup, the stack's Postgres does not run here, or restoring failed and left
            the present data as it was.
    """
    file = _file()
    stack = _Stack()
    container = stack.postgres()
    with file.open("rb") as content:
        listing = subprocess.run(
            ["docker", "exec", "-i", container, "pg_restore", "--list"],
            stdin=content, capture_output=True, encoding="utf-8", check=False,
        )  # fmt: skip
    if listing.returncode or "TABLE DATA public alembic_version" not in listing.stdout:
        raise ToolError(
            f"{file} is not a backup of this application: use a file that `make backup` has written."
        )
    with stack.stopped():
        say(f"Restoring {file}.")
        with file.open("rb") as content:
            is_restored = _read(content, container, _RESTORE)
    if not is_restored:
        raise ToolError(f"{file} was not restored, the data is what it was before; the lines above say why.")
    say("Restored. The workers continue what was unfinished at the time of the backup.")
    return 0


def check() -> int:
    """Restore the newest backup into a scratch database of the stack's Postgres, and count its rows.

    Raises:
        ToolError: there is no backup, it is older than twice BACKUP_EVERY, or it can't be restored.
    """
    stack = _Stack()
    postgres, timer = stack.postgres(), stack.container("backup")
    listed = docker.listing("exec", timer, "ls", _TIMED) if timer else []
    here = [path.name for path in FOLDER.glob("*.dump")]
    form = r"\d{4}(-\d\d){2}T(\d\d-){2}\d\dZ\.dump"
    names = [name for name in (*listed, *here) if re.fullmatch(form, name)]
    if not names:
        raise ToolError("There is no backup: `make backup` writes one, and with BACKUP_EVERY the stack does.")
    name = max(names)
    age = datetime.now(UTC) - datetime.strptime(name, _NAME).replace(tzinfo=UTC)
    every = project.environment().get("BACKUP_EVERY", "")
    if every and age > 2 * _duration(every):
        raise ToolError(
            f"The newest backup, {name}, is older than twice BACKUP_EVERY={every}: the log of the service "
            "`backup` says why (make logs)."
        )
    say(f"Restoring {name} into a scratch database. Its tables and their rows:")
    if name in here:
        with (FOLDER / name).open("rb") as content:
            can_be_restored = _read(content, postgres, _CHECK)
    else:
        read = ["docker", "exec", timer, "cat", f"{_TIMED}/{name}"]
        with subprocess.Popen(read, stdout=subprocess.PIPE) as source:
            can_be_restored = _read(source.stdout, postgres, _CHECK)
    if not can_be_restored:
        raise ToolError(f"{name} can't be restored; the lines above say why. The data was not touched.")
    say(f"{name} can be restored.")
    return 0


def _read(content: IO[bytes] | None, container: str, script: str) -> bool:
    """Have a script in Postgres' container read a backup; whether that worked."""
    command = ["docker", "exec", "-i", container, "bash", "-c", _FUNCTIONS + script]
    return subprocess.run(command, stdin=content, check=False).returncode == 0


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d*)([smhd])", text)
    if not match:
        raise ToolError(f"BACKUP_EVERY={text} is not a number with s, m, h or d: write 24h, for instance.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _file() -> Path:
    name = os.environ.get("FILE", "").strip()
    if not name:
        raise ToolError("Which backup? `make restore FILE=backups/2026-01-31T12-00-00Z.dump`")
    file = Path(name)
    if not file.is_file():
        raise ToolError(f"There is no file {name}: the backups are in backups/.")
    return file


class _Stack:
    """The production stack as it runs here, on Compose or on Swarm."""

    def __init__(self) -> None:
        self._compose = docker.Compose("prod")
        self._name = self._compose.config()["name"]

    def container(self, service: str, *filters: str) -> str:
        """The id of a service's container on this machine, empty if none runs."""
        labels = (
            [f"com.docker.compose.project={self._name}", f"com.docker.compose.service={service}"],
            [f"com.docker.swarm.service.name={self._name}_{service}"],
        )
        for wanted in labels:
            labelled = [part for label in wanted for part in ("--filter", f"label={label}")]
            if found := docker.listing("ps", "--quiet", *filters, *labelled):
                return found[0]
        return ""

    def postgres(self) -> str:
        """The id of Postgres' container."""
        if found := self.container("postgres", "--filter", "health=healthy"):
            return found
        raise ToolError(
            f"No healthy Postgres of {self._name} runs on this machine: start the stack with `make prod`, or "
            "on a Swarm use the node with the label data=true. A database elsewhere is backed up there."
        )

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop what writes, and start it again at the end, after the migration that the data may need."""
        if self._compose.running() == "development":
            raise ToolError("The development stack runs here: stop it, and `make prod`, before you restore.")
        say("Stopping the API and the workers: jobs under way are finished first.")
        replicas = swarm.replicas(self._name)
        try:
            if replicas:
                swarm.stop(self._name, OURS)
            else:
                self._compose.run("stop", *OURS)
            yield
        finally:
            if replicas:
                swarm.migrate(self._name)
                swarm.scale(self._name, replicas)
            else:
                docker.start_again(self._compose)
