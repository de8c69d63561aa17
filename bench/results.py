"""What was measured."""

from dataclasses import dataclass, field

from bench.peers import Peer


@dataclass
class WorkerResult:
    """What one worker did, in all its turns."""

    peer: Peer
    seconds: list[float] = field(default_factory=list)
    """From a save to the first job on its code."""
    missed: int = 0
    """Saves that no job was seen on in time."""
    asked: int = 0
    lost: int = 0
    failed: int = 0
    twice: int = 0
    stale: int = 0
    """Jobs that began on old code after one had begun on new code."""
    problem: str = ""


@dataclass
class ApiResult:
    """What one API did, in all its turns."""

    peer: Peer
    seconds: list[float] = field(default_factory=list)
    """From a save to the first answer of its code."""
    longest_wait: float = 0
    """Seconds that a client waited for its answer."""
    missed: int = 0
    asked: int = 0
    refused: int = 0
    """Requests whose connection was refused; the client tried again until it was not."""
    failed: int = 0
    """Requests whose connection was accepted and then closed or reset, or that got an error."""
    problem: str = ""


@dataclass
class ScaleResult(ApiResult):
    """What one API did with an application of one size, in all its turns."""

    modules: int = 0
    places: dict[str, list[float]] = field(default_factory=dict)
    """The same seconds, by where the saved module is."""
    cpu: list[float] = field(default_factory=list)
    """Seconds of CPU time that each save took, less what the requests cost."""
    memory: int = 0
    """Bytes, of all processes at rest."""


@dataclass
class JobsResult:
    """How fast one worker ran its jobs."""

    peer: Peer
    rates: list[float] = field(default_factory=list)
    """Jobs a second, one after the other, in each turn."""
    starts: list[float] = field(default_factory=list)
    """Seconds from enqueueing to the first line of the job, when the worker waits for one."""
    problem: str = ""


@dataclass
class WatchResult:
    """What one watcher cost."""

    name: str
    kind: str
    """Its name in `bench.watchers`; empty for the parent of `uvicorn --reload`."""
    cpu: dict[int, float] = field(default_factory=dict)
    """Files in the tree: % of a core."""
    noticed: list[float] = field(default_factory=list)
    """Seconds from a save in the smallest tree until it is noticed."""
    problem: str = ""


@dataclass
class Results:
    """Everything."""

    workers: list[WorkerResult]
    apis: list[ApiResult]
    watchers: list[WatchResult]
    jobs: list[JobsResult]
