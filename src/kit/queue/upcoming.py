"""What runs next: `python -m src.kit.queue.upcoming`, or `make schedule`."""

import sys
import time
from datetime import UTC, datetime

from src.kit.production import checked_settings
from src.kit.queue import every, startup


def main() -> int:
    """Print the schedules in the code with their next times, in UTC."""
    checked_settings()
    startup.load_code()
    now = time.time()
    found = sorted((schedule.after(now), schedule) for schedule in every.schedules())
    for moment, schedule in found:
        at = datetime.fromtimestamp(moment, UTC)
        sys.stdout.write(f"{at:%Y-%m-%d %H:%M:%S} UTC  {schedule.name}  ({schedule.spec})\n")
    if not found:
        sys.stdout.write("There is no schedule: put @every(minutes=5) above a function in a jobs.py.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
