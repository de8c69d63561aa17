"""Is it live? `python -m src.reload.live` waits until the API and every worker run the code on disk.

The API says as JSON which code runs: `code` (see `loaded_fingerprint`), `loaded_at`, `workers`, a list with
`name`, `code`, `loaded_at` and `leaving`, and `on_disk` with `code` and `problem`, if that is something else.
"""

import argparse
import json
import os
import sys
import time
from http.client import HTTPException, InvalidURL
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from .fingerprint import fingerprint

STATES = ["live", "broken", "not running", "not live"]
"""The exit code is the place."""


def look(url: str, code: str, seconds: float) -> tuple[str, str, list[dict[str, Any]]]:
    """Ask once whether the code with this fingerprint is live; returns the state, why, and the processes."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=seconds) as response:
            version = json.load(response)
        processes = [{"process": "API", "code": version["code"], "loaded_at": version.get("loaded_at")}]
        processes += [{"process": f"worker {each['name']}"} | each for each in version.get("workers") or []]
        late = [each["process"] for each in processes if each["code"] != code and not each.get("leaving")]
        on_disk = version.get("on_disk") or {}
        if on_disk.get("code") == code and on_disk.get("problem"):
            return "broken", on_disk["problem"], processes
    except HTTPError as error:
        return "not live" if error.code >= 500 else "not running", f"{url} answers {error.code}", []
    except (InvalidURL, ValueError, LookupError, TypeError, AttributeError):
        return "not running", f"{url} does not say which code runs, it may be another program's", []
    except (OSError, HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
            return "not running", f"nothing answers at {url}, start it (such as with `make dev`)", []
        return "not live", f"{url} accepts connections but does not answer, the API's log says why", []
    if late or on_disk:
        return "not live", f"{code} is not loaded by {', '.join(late) or 'all of the API'}", processes
    if version.get("workers") == []:
        return "not live", "no worker is running", processes
    return "live", f"all processes run {code}", processes


def main() -> int:
    """Wait until it is live, say so, and return the exit code."""
    exits = ", ".join(f"{code} {state}" for code, state in enumerate(STATES))
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.live", epilog=f"Exit codes: {exits}.")
    url = f"http://127.0.0.1:{os.environ.get('API_PORT') or 8000}/version"
    parser.add_argument("url", nargs="?", default=url, help="where the API says what it runs: %(default)s")
    folder = Path(__file__).resolve().parents[1] if "." in (__package__ or "") else Path.cwd()
    parser.add_argument("--dir", type=Path, default=folder, help="the folder of the code: %(default)s")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="at most: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    if not options.url.startswith(("http://", "https://")):
        parser.error(f"argument url: {options.url} does not begin with http:// or https://")
    if not options.dir.is_dir():
        parser.error(f"argument --dir: {options.dir} is not a folder")
    deadline, state, pause = time.monotonic() + options.timeout, "", 0.0
    while not state or (state == "not live" and time.monotonic() < deadline):
        time.sleep(pause)
        pause = min(pause + 0.05, 0.5)  # each look is a line in the API's log
        code = fingerprint(options.dir)
        state, why, processes = look(options.url, code, min(5, max(0.5, deadline - time.monotonic())))
    if options.json:
        print(json.dumps({"state": state, "why": why, "code": code, "processes": processes}))  # noqa: T201
    else:
        lines = [f"{each['process']}: {each['code']}, loaded at {each['loaded_at']}" for each in processes]
        output = sys.stdout if state == "live" else sys.stderr
        print(f"{state.capitalize()}: {why}", *lines, sep="\n  ", file=output)
    return STATES.index(state)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
