"""SITE and a certificate authority that speaks ACME, in the place of Let's Encrypt."""

import socket
import ssl

import pytest

from tests.conftest import wait_until
from tests.template.docker.engine import docker
from tests.template.running import Running

SITE = "shop.example.com"
ROOT_CERTIFICATE = "caddy/pki/authorities/local/root.crt"
AUTHORITY = f"""
services:
  edge:
    environment:
      SSL_CERT_FILE: /authority/{ROOT_CERTIFICATE}
    volumes:
      - authority:/authority:ro
    networks:
      default:
        aliases: [{SITE}]
    depends_on:
      authority: {{condition: service_healthy}}
  authority:
    image: caddy:2-alpine
    user: nobody
    environment: {{XDG_DATA_HOME: /var/tmp, XDG_CONFIG_HOME: /tmp}}
    command:
      - sh
      - -ec
      - |
        cat >/tmp/Caddyfile <<EOF
        {{
          skip_install_trust
        }}
        acme-v02.api.letsencrypt.org {{
          tls internal
          rewrite /directory /acme/local/directory
          acme_server
        }}
        EOF
        exec caddy run --config /tmp/Caddyfile --adapter caddyfile
    volumes:
      - authority:/var/tmp
    networks:
      default:
        aliases: [acme-v02.api.letsencrypt.org]
    healthcheck:
      test: test -s /var/tmp/{ROOT_CERTIFICATE} && wget -q -O /dev/null http://127.0.0.1:2019/config/
      start_period: 30s
      start_interval: 1s
volumes:
  authority: {{}}
"""


@pytest.fixture
def stack(clone: Running) -> Running:
    (clone.folder / "docker-compose.override.yml").write_text(AUTHORITY)
    clone.environment |= {"SITE": SITE, "API_BIND": "127.0.0.1"}
    clone.make("prod")
    return clone


def certificate(authority: ssl.SSLContext) -> bytes | None:
    """The certificate that the edge shows, once the authority has signed one and the API answers with it."""
    try:
        with (
            socket.create_connection(("127.0.0.1", 443), 10) as connection,
            authority.wrap_socket(connection, server_hostname=SITE) as secured,
        ):
            secured.sendall(
                f"GET /health/ready HTTP/1.1\r\nHost: {SITE}\r\nConnection: close\r\n\r\n".encode()
            )
            assert secured.recv(1000).startswith(b"HTTP/1.1 200 ")
            return secured.getpeercert(binary_form=True)
    except OSError:
        return None


def test_the_edge_gets_a_certificate_and_keeps_it(stack: Running) -> None:
    (other,), (edge,) = stack.containers("authority"), stack.containers("edge")
    root = docker("exec", edge["Id"], "cat", f"/authority/{ROOT_CERTIFICATE}")
    authority = ssl.create_default_context(cadata=root)
    issued = wait_until(lambda: certificate(authority), 120, "a certificate")
    docker("stop", other["Id"])
    docker("restart", edge["Id"])
    assert wait_until(lambda: certificate(authority), 60, "the edge again") == issued
