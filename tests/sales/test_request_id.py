"""The id of an upload's request is in the last line of its import."""

from pathlib import Path

import httpx2
import pytest

from tests.conftest import wait_until
from tests.kit.production_process import KEY, parse_lines, production_environment, running_api
from tests.kit.worker_process import Workers, workers

__all__ = ["workers"]

SALES = b"Invoice,StockCode,Quantity,InvoiceDate,Price,Country\n1,A,2,2010-12-01,2.55,France\n"


@pytest.mark.slow  # a whole stack for one log
def test_an_upload_can_be_followed_by_its_id_from_the_request_to_the_imports_last_line(
    workers: Workers, redis_url: str, tmp_path: Path
) -> None:
    environment = production_environment(redis_url, workers.environment["DATABASE_URL"])
    workers.start(**environment)
    with running_api(tmp_path, environment, 2) as api:
        response = httpx2.post(
            f"{api.url}/api/v1/sales/imports",
            files={"file": ("sales.csv", SALES, "text/csv")},
            headers={"X-API-Key": KEY, "X-Request-ID": "upload-7"},
            timeout=20,
        )
        assert response.status_code == 202
        assert response.headers["X-Request-ID"] == "upload-7"
        workers.wait_for_log("Job OK")
    of_the_request = [line["message"] for line in api.lines() if line.get("request_id") == "upload-7"]
    assert "POST /api/v1/sales/imports 202" in of_the_request

    def of_the_job() -> list[str]:
        return [line["message"] for line in parse_lines(workers.log) if line.get("request_id") == "upload-7"]

    assert "run_import" in of_the_job()[0]
    assert any("finished: 1 rows" in message for message in of_the_job())
    wait_until(lambda: "result is kept" in of_the_job()[-1], what="RQ's last line about the job")
