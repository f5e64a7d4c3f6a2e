"""A server that does not know the user, or gives no rights: one message that says what to set."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import refused


@pytest.fixture(params=[401, 403])
def guarded(request, monkeypatch):
    """A server that is well, and refuses everything; its answer."""

    class Guard(BaseHTTPRequestHandler):
        def answer(self):
            self.send_response(200 if self.path == "/health" else request.param)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815 (names of http.server)

        def log_message(self, *_):
            """Not in the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{server.server_port}")
    yield request.param
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("command", [["list"], ["show", "john"], ["register", "john", "--name", "x"]])
def test_who_one_is_must_be_said(guarded, command):
    said = refused(*command)
    assert f"({guarded})" in said
    assert "MLFLOW_TRACKING_USERNAME" in said
    assert "secret" not in said
