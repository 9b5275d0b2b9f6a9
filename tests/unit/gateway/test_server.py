"""What the server does before it serves: the socket, and the line that it is ready."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace

import pytest
import uvicorn
from fake_gateway import config_of
from uvicorn.server import ServerState

from baseload.base.errors import BadInputError
from baseload.gateway.config import KeyEntry, ListenEntry, ModelEntry
from baseload.gateway.http_protocol import GatewayProtocol
from baseload.gateway.server import _loop_factory, listening, ready_line


def test_a_free_port_is_found_and_bound():
    with listening(ListenEntry(port=0)) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert sock.getsockname()[1] > 0
        assert not sock.getblocking()


def test_a_port_that_is_taken_is_said_to_be():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInputError, match="taken by another program") as found:
            listening(ListenEntry(port=port))
    assert f"--port {port + 1}" in str(found.value)


def test_a_host_that_is_not_ours_is_said_to_be():
    with pytest.raises(BadInputError, match=r"listen on 203\.0\.113\.7"):
        listening(ListenEntry(host="203.0.113.7", port=0))
    with pytest.raises(BadInputError, match="no such host"):
        listening(ListenEntry(host="no such host", port=0))


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="not on this system")
def test_several_processes_can_share_a_port():
    with listening(ListenEntry(port=0), shared=True) as first:
        port = first.getsockname()[1]
        with listening(ListenEntry(port=port), shared=True) as second:
            assert second.getsockname() == first.getsockname()


def bound(host, port):
    return SimpleNamespace(getsockname=lambda: (host, port))


def test_the_ready_line_says_where_and_how_to_try():
    line = ready_line(config_of(), bound("127.0.0.1", 8080), 6)
    first, second = line.splitlines()
    assert first == "baseload serve: ready on http://127.0.0.1:8080 (1 models, 6 replicas)"
    assert "curl http://127.0.0.1:8080/v1/chat/completions" in second
    assert '"model":"auto"' in second
    assert "Authorization" not in second


def test_the_ready_line_knows_tls_keys_and_embeddings():
    config = config_of(
        listen=ListenEntry(tls_cert="c", tls_key="k"),
        keys=(KeyEntry(name="a", hash="sha256:" + "0" * 64),),
        models=(ModelEntry(name="e", endpoints=("embeddings",)),),
    )
    line = ready_line(config, bound("::1", 443), 2)
    assert "ready on https://[::1]:443" in line
    assert "curl -k https://[::1]:443/v1/embeddings" in line
    assert "Authorization: Bearer" in line
    assert '"model":"e"' in line


def test_no_delay_is_set_on_the_way_to_clients():
    """Nagle's algorithm with delayed acknowledgements costs 40 ms a chunk."""

    async def nobody(scope, receive, send):
        raise AssertionError

    async def run():
        config = uvicorn.Config(nobody, http=GatewayProtocol, lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        loop = asyncio.get_running_loop()
        with listening(ListenEntry(port=0)) as sock:
            server = await loop.create_server(
                lambda: GatewayProtocol(config=config, server_state=state, app_state={}), sock=sock
            )
            _, writer = await asyncio.open_connection(*sock.getsockname())
            while not state.connections:
                await asyncio.sleep(0.001)
            accepted = next(iter(state.connections)).transport.get_extra_info("socket")
            found = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            while state.connections:
                await asyncio.sleep(0.001)
            server.close()
        return found

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        assert runner.run(run()) != 0
