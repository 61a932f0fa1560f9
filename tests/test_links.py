"""The command that asks whether external links answer, against a server on this machine."""

import http.server
import threading

import pytest

from tools import links


class Host(http.server.BaseHTTPRequestHandler):
    """Answers /STATUS with that status; /get only GET."""

    def answer(self):
        only_get = self.path == "/get"
        self.send_response((200 if self.command == "GET" else 404) if only_get else int(self.path[1:]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = answer

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def host():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("path", "answer"), [("200", None), ("get", None), ("404", "404 Not Found")])
def test_answer_of_a_host_is_told(host, path, answer):
    assert links.trouble(f"{host}/{path}") == answer


def test_host_that_is_not_there_is_broken():
    assert "refused" in links.trouble("http://127.0.0.1:1/")


def test_broken_link_fails_the_command_and_names_its_page(host, tmp_path, capsys):
    (tmp_path / "index.html").write_text(f'<a href="{host}/404#here">a</a><a href="{host}/200">b</a><a href="#c">c</a>')
    with pytest.raises(SystemExit, match="1 of 2 external links"):
        links.main(tmp_path)
    out = capsys.readouterr().out
    assert f"{host}/404" in out and "linked from index.html" in out and f"{host}/200" not in out
