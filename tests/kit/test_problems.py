"""What an error says about the path."""

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.staticfiles import StaticFiles
from fastapi.testclient import TestClient

from src.kit.web import problems


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/things", "GET, PATCH, POST"), ("/things/7", "DELETE, GET"), ("/files/a", "GET, HEAD")],
)
def test_a_405_names_every_method_of_its_path(path: str, allowed: str) -> None:
    app, router = FastAPI(), APIRouter(prefix="/things")
    for method, below in (("GET", ""), ("POST", ""), ("GET", "/{number}"), ("DELETE", "/{number}")):
        router.add_api_route(below, lambda: None, methods=[method])
    app.include_router(router)
    app.patch("/things")(lambda: None)
    app.mount("/files", StaticFiles(directory="."))
    problems.install(app)
    answer = TestClient(app).put(path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert answer.headers["Content-Type"] == problems.MEDIA_TYPE
