"""Replaces what runs in production on Compose by a new version, without a gap.

The new containers start beside the old ones, and get requests once they are healthy. The edge sends requests
to a name: that of the old containers from before the first new one starts, then that of the new ones, and at
the end `fastapi`, which all of them have. So the stack serves wherever a deployment is cut off, and the next
one removes what it has left.
"""

import time
from collections.abc import Sequence
from contextlib import suppress

from tools import containers, docker, retire
from tools.console import ToolError, say
from tools.containers import API, OURS, WORKER, Container
from tools.probe import Probe, canary_seconds

_PATIENCE = 300.0
"""Seconds until new containers have to be healthy."""

_PAUSE = 0.5
"""Seconds between two looks at containers. Docker needs a tenth of a second of CPU for each."""

_SETTLE = 1.0
"""Seconds for old workers to hear that they stop, before the new API enqueues jobs that they may not know."""

_ERRORS, _SECONDS = 3, 3.0
"""So many answers with 5xx are too many, if the old version has not given as many a second, over so long."""


class _GoBackError(Exception):
    """Why the new version is taken away again."""


class Release:
    """One deployment: what ran before, and what is to run."""

    def __init__(self, compose: docker.Compose, image: str, *, port: int, is_strict: bool) -> None:
        """Look at what runs.

        Args:
            compose: the files of production.
            image: the name of the image that is to run.
            port: the edge's, on this machine.
            is_strict: whether one failed request is a reason to go back.
        """
        self._compose, self._image, self._is_strict = compose, image, is_strict
        self._edge, self._probe, self._began = containers.Edge(compose), Probe(port), time.monotonic()
        self._project, self._services = (config := compose.config())["name"], config["services"]
        self._image_id, self._kept = docker.image_id(image), ""
        self._found = containers.existing(compose, *OURS)
        self._number = max((each.version for each in self._found), default=0) + 1
        self._old = containers.live(self._found, self._edge.live())
        self._new: list[Container] = []
        self._live_after, self._errors_at_start = 0.0, 0
        self._canary = canary_seconds(compose.environment)

    def run(self, *, migrate: bool) -> str:
        """Replace what has changed.

        Args:
            migrate: whether to apply the migrations of the image first.

        Returns:
            What it has done, for the last line of the command.

        Raises:
            ToolError: the new version does not work, and what ran before serves.
        """
        kept = {each.id for service in OURS for each in self._old[service]}
        containers.remove_leftovers(self._project, [each for each in self._found if each.id not in kept])
        changed = [service for service in OURS if self._has_changed(service)]
        # An earlier form of the stack, without an edge.
        has_port = any(each.publishes for each in self._old[API])
        if self._old[API] and not has_port:
            self._edge.send_to(containers.name_of(self._old[API]))
            self._errors_at_start = self._edge.errors()
            self._probe.start()
        try:
            docker.start_others(self._compose, {*OURS, "migrate", "secrets", *(["edge"] if has_port else [])})
            self._compose.read("rm", "--force", "migrate")  # Compose by itself leaves it
            if migrate and self._compose.run("run", "--rm", "--no-deps", "--no-TTY", "migrate"):
                raise ToolError(
                    "The migration failed, the lines above say why. What ran before keeps running."
                )
        except ToolError:
            self.keep_old_name()
            self._edge.send_to(API)
            raise
        if not changed:
            self._edge.send_to(API)
            running = [each.say_version() for each in self._old[API][:1]]
            return f"{', '.join(running)} runs already: nothing has changed."
        try:
            self._start(changed, self._number)
            if has_port:
                say("The edge takes over the port of the API: requests fail for a moment, this once.")
                docker.listing("stop", *(each.id for each in self._old[API]))
                self._compose.start("up", "--detach", "--no-deps", "--wait", "edge").wait()
            self._hand_over(changed)
        except _GoBackError as reason:
            self._go_back(str(reason))
        docker.prune_images(self._project)
        return self._result()

    def keep_old_name(self) -> None:
        """Give the name of the image back to what runs: whatever Compose starts by itself is that."""
        if self._old[API]:
            docker.listing("tag", self._old[API][0].image, self._image)
            docker.prune_images(self._project)

    def _has_changed(self, service: str) -> bool:
        old = self._old[service]
        is_well = len(old) == self._count(service) and all(each.is_healthy for each in old)
        return not is_well or any(
            each.digest != containers.digest(self._services[service], self._image_id) for each in old
        )

    def _count(self, service: str) -> int:
        return int(self._services[service].get("deploy", {}).get("replicas", 1))

    def _start(self, services: Sequence[str], version: int) -> None:
        """Start containers beside those that exist, and wait until they are healthy.

        Raises:
            _GoBackError: they do not become healthy.
        """
        settings = {service: self._services[service] for service in services}
        override = containers.override(settings, version, self._image_id)
        exists = containers.existing(self._compose, *services)
        scale = [
            f"--scale={service}={self._count(service) + sum(each.service == service for each in exists)}"
            for service in services
        ]
        options = ("--detach", "--no-deps", "--no-recreate", "--no-build", *scale, *services)
        if self._compose.start("--parallel", "1", "up", *options, override={"services": override}).wait():
            raise _GoBackError("Compose did not start it, the lines above say why")
        known = {each.id for each in exists}
        made = [each for each in containers.existing(self._compose, *services) if each.id not in known]
        for service in services:
            self._new += [each for each in made if each.service == service][: self._count(service)]
        self._stop_surplus(exists, made)
        ids = [each.id for each in self._new if each.service in services]
        deadline = time.monotonic() + _PATIENCE
        while True:
            now = containers.inspect(ids)
            broken = {each.service: each.problem for each in now if each.problem}
            if len(now) < len(ids) or broken or time.monotonic() > deadline:
                names = ", ".join(f"{name} ({problem})" for name, problem in broken.items())
                raise _GoBackError(f"The stack did not become healthy: {names or 'it takes too long'}")
            if all(each.is_healthy for each in now):
                containers.raise_priority(now)
                return
            self._require_no_failure()
            time.sleep(_PAUSE)

    def _stop_surplus(self, exists: Sequence[Container], made: Sequence[Container]) -> None:
        """Stop what had finished its last job while Compose counted: it was started again, or replaced."""
        started = {each.id: each.state["StartedAt"] for each in exists if each.is_retired}
        again = [each for each in containers.inspect(started) if each.state["StartedAt"] != started[each.id]]
        if surplus := [each.id for each in (*again, *(each for each in made if each not in self._new))]:
            retire.in_background(self._project, surplus)

    def _hand_over(self, changed: Sequence[str]) -> None:
        if WORKER in changed:  # the new ones know the old jobs; the old ones may not know the new jobs
            retire.in_background(self._project, [each.id for each in self._old[WORKER]])
        self._live_after = time.monotonic() - self._began
        if API in changed and self._old[API]:
            seconds, errors = self._live_after, self._edge.errors()
            self._keep_image()
            time.sleep(_SETTLE)
            self._edge.send_to(containers.alias(self._number))
            say(f"v{self._number} gets the requests after {seconds:.0f} s; watching it for {self._canary} s.")
            self._watch(errors, (errors - self._errors_at_start) / seconds)
            # Its clients are gone, apart from uploads and streams, which end by the server's word.
            retire.in_background(self._project, [each.id for each in self._old[API]]).wait()
        if API in changed:
            self._edge.send_to(API)

    def _watch(self, errors: int, rate: float) -> None:
        """Watch the new version while it gets the requests.

        Args:
            errors: the answers with 5xx that the edge had counted before.
            rate: how many of them a second the old version gave.

        Raises:
            _GoBackError: it ends, or answers more errors.
        """
        ids, began = [each.id for each in self._new if each.service == API], time.monotonic()
        while (seconds := time.monotonic() - began) < self._canary:
            time.sleep(_PAUSE)
            self._require_no_failure()
            now = containers.inspect(ids)
            if len(now) < len(ids) or any(not each.is_healthy or each.restarts for each in now):
                raise _GoBackError("It did not stay healthy")
            new_errors = self._edge.errors() - errors
            if new_errors >= _ERRORS and new_errors / max(seconds, _SECONDS) > 2 * rate:
                raise _GoBackError(f"It answered {new_errors} requests with 5xx in {seconds:.0f} s")

    def _require_no_failure(self) -> None:
        if self._is_strict and self._probe.counts.failed:
            raise _GoBackError(f"A request failed, and PROVE=strict: {self._probe.counts.first_failure}")

    def _go_back(self, reason: str) -> None:
        """Send requests to what ran before, remove the new version, and say why.

        Raises:
            ToolError: in any case.
        """
        old = self._old[API]
        if old:
            self._edge.send_to(containers.name_of(old))
        new = containers.inspect(each.id for each in self._new)
        for each in ([each for each in new if not each.is_healthy] or new)[:1]:
            say(f"The last lines of {each.name}:")
            say("\n".join(containers.last_lines(each.id)))
        if not old:
            raise ToolError(f"{reason}. Fix it and run `make prod` again; `make down` stops it.")
        if self._kept:
            docker.listing("tag", self._kept, containers.previous(self._image))
        self.keep_old_name()
        workers, self._new = self._old[WORKER], []
        left = [each for each in containers.inspect(each.id for each in workers) if not each.is_retired]
        if len(left) < len(workers):
            say(f"Starting workers of {workers[0].say_version()} again.")
            with suppress(_GoBackError):
                self._start([WORKER], workers[0].version)
        retire.in_background(self._project, [each.id for each in new]).wait()
        self._edge.send_to(API)
        self._probe.stop()
        raise ToolError(
            f"{reason}. v{self._number} was taken away again, {old[0].say_version()} keeps running: "
            f"{self._probe.summary()}."
        )

    def _keep_image(self) -> None:
        """Keep the image that ran before for `make rollback`; the one before that loses its name."""
        old, name = self._old[API][0].image, containers.previous(self._image)
        if old != self._image_id:
            self._kept = docker.image_id(name)
            docker.listing("tag", old, name)

    def _result(self) -> str:
        text = f"{containers.say_version(self._number, self._image_id)}: live in {self._live_after:.0f} s"
        self._probe.stop()
        if self._probe.counts.requests:
            text += f", {self._probe.summary()}"
        self._probe.say_first_failure()
        return f"{text}{containers.say_busy(self._old[WORKER])}."
