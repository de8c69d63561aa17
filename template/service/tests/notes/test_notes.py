"""Notes on a real database and Redis, with a real worker."""

import uuid
from datetime import UTC, datetime
from typing import Any

from fastapi.testclient import TestClient

from src.notes import jobs
from tests.conftest import wait_until

NOTES = "/api/v1/notes"


def finished(client: TestClient, note_id: str) -> dict[str, Any]:
    """The note, as soon as its job has finished."""

    def look() -> dict[str, Any] | None:
        note: dict[str, Any] = client.get(f"{NOTES}/{note_id}").json()
        return note if (note["progress"] or {}).get("state") == "finished" else None

    return wait_until(look, 30, "the job of the note")


def test_a_worker_counts_the_words_of_a_note(client: TestClient, worker: object) -> None:
    response = client.post(NOTES, json={"text": "First line\nand a second one"})
    assert response.status_code == 202
    note = finished(client, response.json()["id"])
    assert note["words"] == 6
    assert note["progress"] == {"done": 2, "total": 2, "state": "finished"}


def test_counting_again_gives_the_same_number(client: TestClient) -> None:
    note_id = client.post(NOTES, json={"text": "one two three"}).json()["id"]
    for _ in range(2):
        jobs.count_words(note_id)
        assert client.get(f"{NOTES}/{note_id}").json()["words"] == 3


def test_a_note_that_redis_lost_is_found(client: TestClient) -> None:
    note_id = client.post(NOTES, json={"text": "never lost"}).json()["id"]
    assert uuid.UUID(note_id) in jobs.unfinished(before=datetime.now(UTC))
    jobs.count_words(note_id)
    assert jobs.unfinished(before=datetime.now(UTC)) == []


def test_a_job_that_failed_for_good_leaves_its_reason(client: TestClient) -> None:
    note_id = client.post(NOTES, json={"text": "out of luck"}).json()["id"]
    jobs.give_up(uuid.UUID(note_id), "It failed.")
    assert client.get(f"{NOTES}/{note_id}").json()["error"] == "It failed."
    assert jobs.unfinished(before=datetime.now(UTC)) == []


def test_wrong_input_gets_an_answer_that_says_why(client: TestClient) -> None:
    assert client.post(NOTES, json={"text": ""}).status_code == 422
    missing = client.get(f"{NOTES}/00000000-0000-0000-0000-000000000000")
    assert missing.status_code == 404
    assert "There is no note" in missing.json()["detail"]
