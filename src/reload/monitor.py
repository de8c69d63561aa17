"""Notices that code has changed on disk, on every kind of mount."""

import hashlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event, Thread

from .events import are_likely, read_events
from .tree import RACY_NS, Signature, is_skipped, is_source, is_written, scan, signature

logger = logging.getLogger(__name__)

CPU_SHARE = 0.004
"""The share of a core that scans may use; a little less than the 0.5 % that is promised."""

SHORTEST_INTERVAL = 0.1
"""Seconds between two scans, however small the tree is."""

GRACE = 1.0
"""Seconds that an event may arrive after the scan that found its change."""


class CodeChangeMonitor:
    """Calls back when source below a directory changes (`tree.is_source`): new, saved, renamed or deleted.

    A daemon thread scans the modification times, which works on every kind of mount and always has the last
    word. File events are a hint to look now:

    - Where they arrive, a save is noticed within milliseconds. The interval between scans exceeds
      `check_interval` only if scans would use more than 0.5 % of a core (from about 2,000 files).
    - Where a scan finds a change that no event announced, events don't work: from then on it scans as often
      as 0.5 % of a core allows, at least every `check_interval`, and logs that once.
    - Until either is known, the kind of file system decides.

    Touching a file without changing its content is not a change.
    """

    def __init__(
        self,
        watch_dir: Path | str,
        on_change: Callable[[list[str]], None],
        check_interval: float = 2.0,
        is_code: Callable[[str], bool] = is_source,
    ) -> None:
        """Watch a directory once `start` is called.

        Args:
            watch_dir: the folder of the code.
            on_change: called in the monitor's thread with the changed files, relative to `watch_dir`, sorted.
            check_interval: seconds between two scans of the modification times.
            is_code: whether the file at a path counts as source, see `tree.scan`.
        """
        self._root = os.path.realpath(watch_dir)
        self._on_change = on_change
        self._check_interval = check_interval
        self._is_code = is_code
        self._files: dict[str, Signature] = {}
        self._digests: dict[str, bytes] = {}
        self._racy: set[str] = set()
        self._cost = 0.0
        self._trusts_events = are_likely(self._root)
        self._has_events = True
        self._announced: deque[str] = deque()
        self._unannounced: set[str] = set()
        self._grace_ends = 0.0
        self._wake = Event()
        self._stop = Event()

    def start(self) -> None:
        """Start watching: whatever changes after this returns is noticed."""
        self._files = self._scan()
        newest = time.time_ns() - RACY_NS
        self._digest_all(path for path, known in self._files.items() if max(known[:2]) > newest)
        Thread(target=self._listen, name="file-events", daemon=True).start()
        Thread(target=self._watch, name="code-change-monitor", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._wake.set()

    @property
    def interval(self) -> float:
        """Seconds between two scans, unless an event comes first."""
        affordable = self._cost / CPU_SHARE
        if not self._has_events:
            return min(max(affordable, SHORTEST_INTERVAL), self._check_interval)
        return max(affordable, self._check_interval) if self._trusts_events else self._check_interval

    def _listen(self) -> None:
        try:
            read_events(self._root, self._announce, self._stop, self._is_skipped)
        except Exception as error:  # noqa: BLE001  whatever goes wrong here, scanning still works
            if not self._stop.is_set():
                self._give_up_events(f"{type(error).__name__}: {error}")

    def _announce(self, paths: Iterable[str]) -> None:
        self._announced.extend(paths)
        self._wake.set()

    def _give_up_events(self, reason: str) -> None:
        if self._has_events:
            self._has_events = False
            self._wake.set()
            logger.warning(
                "No file events from %s (%s): scanning every %.1f s instead",
                self._root,
                reason,
                self.interval,
            )

    def _watch(self) -> None:
        self._digest_all(path for path in list(self._files) if path not in self._digests)
        looked_at = -self.interval
        while not self._stop.is_set():
            if time.monotonic() >= looked_at + self.interval:
                changed = self._look_everywhere()
                looked_at = time.monotonic()
                if changed:
                    self._unannounced.update(changed)
                    self._grace_ends = looked_at + GRACE
            else:
                changed = self._look_at_announced()
            if changed and not self._stop.is_set():
                self._on_change(sorted(Path(path).relative_to(self._root).as_posix() for path in changed))
            self._judge_events()
            next_look = looked_at + self.interval
            deadline = min(next_look, self._grace_ends) if self._unannounced else next_look
            self._wake.wait(max(deadline - time.monotonic(), 0))
            self._wake.clear()

    def _judge_events(self) -> None:
        if self._unannounced and time.monotonic() >= self._grace_ends and not self._announced:
            self._unannounced.clear()
            self._give_up_events("a change came without one")

    def _look_everywhere(self) -> set[str]:
        started = time.thread_time()
        files = self._scan()
        suspects = {path for path, found in files.items() if self._files.get(path) != found} | self._racy
        suspects |= self._files.keys() - files.keys()
        changed = {path for path in suspects if self._has_changed(path)}
        self._cost = time.thread_time() - started
        return changed

    def _look_at_announced(self) -> set[str]:
        paths = set()
        while self._announced:
            paths.add(self._announced.popleft())
        if paths:
            self._unannounced.clear()
        code = {path for path in paths if self._is_code(path) and not os.path.isdir(path)}
        changed = {path for path in code if self._is_watched(path) and self._has_changed(path)}
        if any(self._is_directory(path) for path in paths - code if not self._is_skipped(path)):
            changed |= self._look_everywhere()
        if changed and self._root not in paths:  # not an event, but a request to scan everything
            self._trusts_events = True
        return changed

    def _is_watched(self, path: str) -> bool:
        folders = list(Path(path).relative_to(self._root).parents)[:-1]
        are_skipped = any(self._is_skipped(os.path.join(self._root, folder)) for folder in folders)
        return not are_skipped and not is_written(path, self._root)

    def _is_skipped(self, directory: str) -> bool:
        return is_skipped(directory, self._is_code)

    def _is_directory(self, path: str) -> bool:
        """Whether a path is a directory, or was one before it was deleted."""
        if os.path.isdir(path):
            return True
        return not os.path.exists(path) and any(known.startswith(path + os.sep) for known in self._files)

    def _scan(self) -> dict[str, Signature]:
        found = scan(self._root, self._is_code)
        for directory in found.unreadable:
            below = os.path.join(directory, "")
            found.files.update({path: known for path, known in self._files.items() if path.startswith(below)})
        return found.files

    def _digest_all(self, paths: Iterable[str]) -> None:
        """Remember the contents of files."""
        for path in paths:
            if self._stop.is_set():
                return
            found, digest = self._read(path)
            if found == self._files[path] and digest:
                self._digests[path] = digest

    def _has_changed(self, path: str) -> bool:
        found, digest = self._read(path)
        if not found or not digest:
            return self._forget(path)
        known = self._digests.get(path)
        changed = known != digest if known else self._files.get(path) != found
        self._files[path] = found
        self._digests[path] = digest
        return changed

    def _forget(self, path: str) -> bool:
        self._racy.discard(path)
        self._digests.pop(path, None)
        return self._files.pop(path, None) is not None

    def _read(self, path: str) -> tuple[Signature | None, bytes | None]:
        """Signature and digest of a file; signature first, so that the next scan sees a save in between."""
        try:
            found = signature(os.stat(path))
            with open(path, "rb") as file:
                digest = hashlib.blake2b(file.read(), digest_size=16).digest()
        except OSError:
            return None, None
        if time.time_ns() - max(found[:2]) < RACY_NS:
            self._racy.add(path)
        else:
            self._racy.discard(path)
        return found, digest
