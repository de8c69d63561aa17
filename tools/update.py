"""`make update`: merges what has changed in the template since this service was made from it."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, replace

from tools import git
from tools.console import ToolError, say
from tools.project import ROOT

RECORD = ".template"
"""The file that remembers what the service was made from."""

LOCKS = ("requirements.txt", "requirements-tracing.txt", "requirements-debug.txt", "requirements-dev.txt")

# Never updated: the features of the service and their tests, its migrations and its README.
_OWN = re.compile(
    r"README\.md$|\.template$|migrations/versions/|src/(?!kit/|reload/)\w+/|tests/(?!kit/|reload/|tools/)\w+/"
)


@dataclass(frozen=True)
class Origin:
    """What a service was made from.

    Attributes:
        commit: the template's commit, or one of the clone's own after it.
        tree: the tree of that commit, which finds it again where the clone began a history of its own.
        repository: URL or folder of the template, empty if the clone had no origin.
        name: NAME of `make new`.
        example: EXAMPLE of `make new`.
    """

    commit: str
    tree: str
    repository: str
    name: str
    example: str

    @classmethod
    def load(cls) -> "Origin":
        """Read the record.

        Raises:
            ToolError: there is none, or it is damaged.
        """
        try:
            return cls(**json.loads((ROOT / RECORD).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            raise ToolError(
                f"{RECORD} is missing or damaged: restore it, or run `make new` first, which writes it."
            ) from None

    def dumps(self) -> str:
        """The record as text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def update() -> int:
    """Merge the template's changes into the work tree; commit them unless there are conflicts.

    The template comes from FROM, else from where the service came from. The version that the service was made
    from and the newest one are both turned into a service by their own `make new`, so that neither the names
    nor the example differ; git merges what does.

    Raises:
        ToolError: the template could not be read, or has nothing in common with this service.
    """
    origin = Origin.load()
    git.require_clean()
    source = os.environ.get("FROM", "").strip() or origin.repository
    if not source:
        raise ToolError(
            "Where is the template? `make update FROM=https://example.com/template.git`, or a folder."
        )
    git.run("fetch", "--quiet", "--no-tags", source, "HEAD")
    newest = git.run("rev-parse", "FETCH_HEAD")
    base = _base(newest, origin)
    if base == newest:
        say(f"Nothing to do: this service has everything up to the template's newest commit, {newest[:12]}.")
        return 0
    before, after = (_shared_tree(commit, origin) for commit in (base, newest))
    message = f"template {newest[:12]}"
    ancestor = git.run("commit-tree", before, "-m", "template")
    conflicts = _merge(git.run("commit-tree", after, "-p", ancestor, "-m", message))
    (ROOT / RECORD).write_text(replace(origin, commit=newest, repository=source).dumps(), "utf-8")
    git.run("add", RECORD)
    return _report(conflicts, f"Update from the {message}")


def _base(newest: str, origin: Origin) -> str:
    """The newest commit of the template that the service already has."""
    if found := git.run("merge-base", origin.commit, newest, check=False):
        return found
    for line in git.run("log", "--format=%T %H", newest).splitlines():
        tree, commit = line.split()
        if tree == origin.tree:
            return commit
    raise ToolError(
        f"This service and the template have no commit in common: write into {RECORD} the “commit” of the "
        "template that it was made from."
    )


def _shared_tree(commit: str, origin: Origin) -> str:
    """What `make new` makes of a commit of the template, without what is the service's own: a git tree."""
    # Not what is about this process, its stack and its repository.
    foreign = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "COMPOSE_", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {"NAME": origin.name, "EXAMPLE": origin.example, "YES": "1"}
    with git.scratch_tree(commit) as folder:
        command = [sys.executable, "-m", "tools.stack", "new"]
        made = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True,
            encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if made.returncode:
            reason = made.stderr.strip()[-1000:]
            raise ToolError(f"`make new` failed in the template at {commit[:12]}: {reason}")
        names = git.run("ls-files", "-z", cwd=folder).split("\0")
        git.run("rm", "--quiet", "--cached", "--", *filter(_OWN.match, names), cwd=folder)
        return git.run("write-tree", cwd=folder)


def _merge(change: str) -> list[str]:
    """Merge a commit's change into the work tree; return the files whose conflicts need a person."""
    picked = subprocess.run(
        ["git", "cherry-pick", "--no-commit", change],
        cwd=ROOT, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    unmerged: dict[str, set[str]] = {}
    for line in filter(None, git.run("ls-files", "--unmerged", "-z").split("\0")):
        entry, name = line.split("\t")
        unmerged.setdefault(name, set()).add(entry.split()[2])
    if picked.returncode and not unmerged:
        raise ToolError(f"git could not merge the template: {picked.stderr.strip()}")
    conflicts = []
    for name, stages in unmerged.items():
        if "2" not in stages:
            git.run("rm", "--quiet", "--", name)
            say(f"{name} stays deleted; the template has changed it.")
        elif "3" not in stages:
            git.run("add", "--", name)
            say(f"{name} stays, since you have changed it; the template has deleted it.")
        elif name in LOCKS:
            git.run("checkout", "--ours", "--", name)
            git.run("add", "--", name)
            say(f"{name} stays as it was; the template's packages have changed, too: run `make lock`.")
        else:
            conflicts.append(name)
    return conflicts


def _report(conflicts: list[str], message: str) -> int:
    if not conflicts:
        say(git.run("diff", "--cached", "--stat", "HEAD"))
        git.run("commit", "--quiet", "-m", message)
        say("Merged and committed. Next: `make check`, `make test`.")
        return 0
    say("You and the template have changed the same lines of:\n  " + "\n  ".join(conflicts))
    say("Everything else is merged. In these files, decide between <<<<<<< and >>>>>>>; then:")
    say(f"  git add {shlex.join(conflicts)} && git commit -m {shlex.quote(message)}")
    say("`git reset --hard` gives up instead, and leaves everything as it was.")
    return 1
