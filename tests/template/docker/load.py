"""Requests without a pause from a container, where DNS leads: `python -c … NAME`, until standard input ends.

Half of the clients open a connection for each request, half keep theirs. As a load balancer and every HTTP
client does, a client takes the next address where one refuses the connection, and repeats a request on a new
connection when a kept one turns out to be closed before a byte of the answer has come (RFC 9112, 9.3.1).
Anything else is a failure. Prints what was counted, as JSON.
"""

import http.client
import json
import socket
import sys
import threading
from collections import Counter

PORT = 8000
count: Counter[str] = Counter()
failures: list[str] = []
lock = threading.Lock()
stopping = threading.Event()


def connect() -> http.client.HTTPConnection:
    """A connection to one of the service's addresses."""
    for address in {found[4][0] for found in socket.getaddrinfo(sys.argv[1], PORT, proto=socket.IPPROTO_TCP)}:
        connection = http.client.HTTPConnection(str(address), PORT, timeout=20)
        try:
            connection.connect()
        except OSError:
            with lock:
                count["refused"] += 1
        else:
            return connection
    raise OSError("no address takes a connection")


def request(kept: http.client.HTTPConnection | None) -> http.client.HTTPConnection:
    """One request; returns its connection."""
    connection = kept or connect()
    try:
        connection.request("GET", "/health/ready")
        response = connection.getresponse()
    except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
        if not kept:
            raise
        with lock:
            count["closed while kept"] += 1
        return request(None)
    body = response.read()
    if response.status != 200:
        raise OSError(f"{response.status} {body!r}")
    if response.will_close:
        connection.close()
    return connection


def client(keeps: bool) -> None:
    """Ask until the end."""
    connection = None
    while not stopping.is_set():
        try:
            connection = request(connection if connection and connection.sock else None)
            with lock:
                count["kept" if keeps else "fresh"] += 1
        except (OSError, http.client.HTTPException) as error:
            with lock:
                failures.append(repr(error))
            connection = None
        if not keeps and connection:
            connection.close()
        stopping.wait(0.01)


clients = [threading.Thread(target=client, args=(number % 2 == 0,)) for number in range(8)]
for each in clients:
    each.start()
sys.stdin.read()
stopping.set()
for each in clients:
    each.join()
print(json.dumps({"count": count, "failures": failures}))  # noqa: T201
