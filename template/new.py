"""`make new`: turns this clone into a service, in one commit."""

import os
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from template import example, leftovers
from template.files import edit, tracked, write
from tools import docker, git, pidfile, project, runtime
from tools.console import ToolError, say
from tools.update import RECORD, Origin

TITLE, SLUG = "Sales Dashboard", "sales-dashboard"
"""What the template itself is called; each occurrence is renamed."""

SERVICE = Path(__file__).parent / "service"
"""The files that a service begins with, laid out as in its work tree."""

LONGEST_NAME = 40


@dataclass(frozen=True)
class Name:
    """What a service is called: by people, and by programs."""

    title: str
    slug: str

    @classmethod
    def parse(cls, text: str) -> "Name":
        """Derive the slug from a title such as "Order Service".

        Raises:
            ToolError: the title is empty, or cannot name a package and an image.
        """
        title = " ".join(text.split())
        if not title:
            raise ToolError('The service needs a name: `make new NAME="Order Service"`.')
        if unusable := "".join(sorted({c for c in title if not (c.isalnum() or c in " -_.,&'()+!")})):
            raise ToolError(f"NAME contains {unusable}: use letters, digits, spaces and - _ . , & ' ( ) + !")
        ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
        slug = re.sub("[^a-z0-9]+", "-", ascii_title.replace("'", "")).strip("-")
        if not re.match("[a-z]", slug):
            raise ToolError(
                f"NAME={title} cannot name a package and an image: begin it with a letter from a to z."
            )
        if len(title) > LONGEST_NAME:
            raise ToolError(f"NAME has {len(title)} characters: use at most {LONGEST_NAME}.")
        return cls(title, slug)


def new() -> int:
    """Turn this clone into the service NAME, after a question unless YES=1; EXAMPLE=keep keeps the example.

    Raises:
        ToolError: this clone is not in a state for it; nothing was changed.
    """
    name = Name.parse(os.environ.get("NAME", ""))
    keep = os.environ.get("EXAMPLE", "").strip()
    if keep not in ("", "keep"):
        raise ToolError(f"EXAMPLE={keep} is unknown: EXAMPLE=keep, or leave it out.")
    _require_fit_clone()
    say("\n".join(_plan(name, keeps_example=bool(keep))))
    if os.environ.get("YES") != "1" and not _confirmed():
        say("Nothing was changed.")
        return 1
    origin = Origin(
        commit=git.run("rev-parse", "HEAD"),
        tree=git.run("rev-parse", "HEAD^{tree}"),
        repository=git.run("config", "--get", "remote.origin.url", check=False),
        name=name.title,
        example=keep,
    )
    with git.scratch_tree("HEAD") as tree:
        notes = _transform(tree, name, keeps_example=bool(keep))
        write(tree / RECORD, origin.dumps())
        git.run("add", "--all", cwd=tree)
        git.run("commit", "--quiet", "--no-verify", "-m", f"Start {name.title} from the template", cwd=tree)
        commit = git.run("rev-parse", "HEAD", cwd=tree)
    git.run("merge", "--quiet", "--ff-only", commit)
    leftovers.remove_bytecode(project.ROOT)
    if not keep:
        notes += leftovers.put_data_aside(project.DATA)
    if project.ENV_FILE.exists():
        notes.append(f"add COMPOSE_PROJECT_NAME={name.slug} to your .env, which was there before.")
    for note in notes:
        say(f"Note: {note}")
    say(f"This is {name.title} now, in one commit. Next: `make dev`, then docs/FIRST_FEATURE.md.")
    return 0


def _require_fit_clone() -> None:
    git.require_clean()
    if (project.ROOT / RECORD).exists():
        raise ToolError(f"`make new` was run here before, see {RECORD}: change the rest by hand.")
    running = pidfile.running_pid() or (
        runtime.docker_problem() is None and docker.Compose("dev", "prod").read("ps", "--quiet")
    )
    if running:
        raise ToolError("The stack runs here, under its old name: stop it with `make down` first.")


def _plan(name: Name, *, keeps_example: bool) -> list[str]:
    leaving = [path for path in leftovers.leaving(project.ROOT) if path != "README.md"]
    if keeps_example:
        feature = f"- the example, src/{example.FEATURE}, stays"
    else:
        feature = (
            f"- src/{example.FEATURE}, its tests, migration and packages are replaced by src/notes, "
            "a small feature to copy from"
        )
    return [
        f"This turns the clone into {name.title}, in one commit:",
        f"- title, package, image and Compose project are renamed to {name.title} and {name.slug}",
        feature,
        f"- what only the template needs is deleted: {', '.join(leaving)}",
        "- README.md and the CI workflow start anew",
    ]


def _confirmed() -> bool:
    try:
        return input("Go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        say("\nThere is nobody to ask: YES=1 answers the question.")
        return False


def _transform(tree: Path, name: Name, *, keeps_example: bool) -> list[str]:
    """Make the changes in a work tree; return what the user should know about them."""
    git.run("rm", "-r", "--quiet", "--", *leftovers.leaving(tree), cwd=tree)
    unwanted = ("src", "tests", "migrations") if keeps_example else ()
    shutil.copytree(
        SERVICE, tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", *unwanted)
    )
    if keeps_example:
        edit(tree / "README.md", lambda text: text.replace("src/notes", f"src/{example.FEATURE}"))
    else:
        example.take_out(tree, SERVICE)
    leftovers.take_out_references(tree)
    if not keeps_example:
        example.take_out_packages(tree, SLUG)
    _rename(tree, name)
    if keeps_example:
        return []
    return [f"{path} still mentions “{example.FEATURE}”." for path in example.mentions(tree)]


def _rename(tree: Path, name: Name) -> None:
    for path, text in tracked(tree):
        write(path, text.replace(TITLE, name.title).replace(SLUG, name.slug))
    description = f'description = "{name.title}: an API and its workers"'
    edit(tree / "pyproject.toml", lambda text: re.sub("(?m)^description = .*$", lambda _: description, text))
    settings = tree / ".env.example"
    text = settings.read_text("utf-8")
    compose_project = (
        "# The name under which Docker Compose and Swarm keep containers and volumes.\n"
        f"COMPOSE_PROJECT_NAME={name.slug}\n\n"
    )
    head, anchor, rest = text.partition("# ---")
    if not anchor:
        raise ToolError(".env.example has no section that begins with # ---: nothing was changed.")
    write(settings, head + compose_project + anchor + rest)
