"""The sweeps of the queue: one worker at a time runs them."""

import threading


def test_however_many_workers_look_at_once_only_one_sweeps(stack: dict[str, str]) -> None:
    from src.kit.queue import enqueue as job_queue
    from src.kit.queue import maintenance

    swept: list[int] = []
    begin = threading.Barrier(8)

    def look(number: int) -> None:
        begin.wait()
        maintenance.run_round([job_queue.get_queue()], f"worker-{number}", lambda: swept.append(number))

    threads = [threading.Thread(target=look, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(swept) == 1
