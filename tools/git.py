"""git, as far as `make new` and `make update` need it."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.console import ToolError
from tools.project import ROOT


def run(*arguments: str, cwd: Path = ROOT, check: bool = True) -> str:
    """The output of a git command.

    Args:
        cwd: the work tree.
        check: whether a failure is an error; otherwise a command that fails has no output.

    Raises:
        ToolError: the command failed.
    """
    result = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, encoding="utf-8", check=False)
    if result.returncode and check:
        raise ToolError(f"git {arguments[0]} failed: {(result.stderr or result.stdout).strip()}")
    return "" if result.returncode else result.stdout.strip()


@contextmanager
def scratch_tree(commit: str) -> Iterator[Path]:
    """A second work tree with this commit, away at the end: what fails in it changes nothing here."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        run("worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            run("worktree", "remove", "--force", str(tree))


def require_clean() -> None:
    """Refuse to go on unless this is a git work tree in which everything is committed.

    Raises:
        ToolError: git is missing, or this is not a work tree, or there are uncommitted changes.
    """
    if not shutil.which("git"):
        raise ToolError("This needs git, which is not on the PATH: install it and try again.")
    top = run("rev-parse", "--show-toplevel", check=False)
    if not top or Path(top).resolve() != ROOT:
        raise ToolError(
            "This folder is not a git repository: `git init`, `git add --all` and `git commit` make it one."
        )
    if changes := run("status", "--porcelain"):
        raise ToolError(f"There are uncommitted changes: commit or stash them first.\n{changes[:1000]}")
    if not run("var", "GIT_COMMITTER_IDENT", check=False):
        raise ToolError(
            'git does not know who you are: set it with `git config --global user.name "Your Name"` and '
            "`git config --global user.email you@example.com`."
        )
