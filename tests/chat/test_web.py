"""The page's server: what it answers, what it refuses, and ports."""

import http.client
import json
import socket
import struct
from urllib.parse import urlsplit

import pytest
from chat_server import serving

from electra_jax import UserError
from electra_jax.chat import web
from electra_jax.chat.answers import pieces
from electra_jax.chat.web import ChatServer
from electra_jax.inference.detecting import Token

JSON = "application/json"


@pytest.fixture(scope="module")
def server():
    with serving() as server:
        yield server


def _ask(server, method, path, body=None, **headers):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_the_page_and_its_files_may_load_nothing_from_elsewhere(server):
    for path, kind in (("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")):
        status, headers, content = _ask(server, "GET", path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"http://" not in content
        assert b"https://" not in content


def test_turns_are_answered_and_what_is_refused_is_a_sentence(server):
    body = json.dumps({"turns": ["hello", "hi", "abc"]})
    status, _, content = _ask(server, "POST", "/reply", body, Content_Type="application/json; charset=utf-8")
    found = json.loads(content)
    assert (status, found["text"], found["turns_read"]) == (200, "<b>cba</b>", 2)
    status, _, content = _ask(server, "POST", "/reply", json.dumps({"turns": ["bad"]}), Content_Type=JSON)
    assert (status, json.loads(content)) == (400, {"error": "that cannot be replied to: say something else"})


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/../web.py", None, {}, 404),
        ("GET", "/", None, {"Host": "rebound.example:80"}, 403),
        (
            "POST",
            "/reply",
            '{"turns": ["a"]}',
            {"Content_Type": JSON, "Origin": "http://other.example"},
            403,
        ),
        ("POST", "/reply", '{"turns": ["a"]}', {"Content_Type": JSON, "Origin": "null"}, 403),
        ("POST", "/reply", '{"turns": ["a"]}', {"Content_Type": "text/plain"}, 415),
        ("POST", "/reply", None, {"Content_Type": JSON, "Content_Length": str(2**20 + 1)}, 413),
        ("POST", "/reply", None, {"Content_Type": JSON, "Content_Length": "9" * 5000}, 413),
        ("POST", "/reply", json.dumps({"turns": ["a" * 2**22]}), {"Content_Type": JSON}, 413),
        ("POST", "/reply", json.dumps({"turns": ["a" * 2**22]}), {"Content_Type": "text/plain"}, 415),
        ("POST", "/reply", "{", {"Content_Type": JSON}, 400),
        ("POST", "/reply", '{"turns": "a"}', {"Content_Type": JSON}, 400),
        ("POST", "/other", '{"turns": ["a"]}', {"Content_Type": JSON}, 404),
        ("DELETE", "/", None, {}, 501),
    ],
)
def test_other_requests_are_refused(server, method, path, body, headers, status):
    assert _ask(server, method, path, body, **headers)[0] == status


def test_the_page_sends_no_more_than_the_server_reads(server):
    script = _ask(server, "GET", "/page.js")[2].decode()
    assert f"const MOST_BYTES = 1 << {web._MAX_BODY.bit_length() - 1};" in script
    longest = json.dumps({"turns": ["a" * (web._MAX_BODY - len('{"turns": [""]}'))]})
    assert _ask(server, "POST", "/reply", longest, Content_Type=JSON)[0] == 200
    assert _ask(server, "POST", "/reply", longest + " ", Content_Type=JSON)[0] == 413


def test_a_port_that_is_in_use_or_none_is_one_sentence(server):
    port = urlsplit(server.url).port
    with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is in use: give another"):
        ChatServer(port)
    for none in (-1, 65536):
        with pytest.raises(UserError, match=f"{none} is no port"):
            ChatServer(none)


def test_pieces_are_all_of_a_text():
    tokens = [Token("ab", 0, 2, 0.1), Token("c", 3, 4, 0.2), Token("é", 4, 5, 0.3), Token("é", 4, 5, 0.4)]
    assert pieces("ab cé d", tokens) == [("ab", 0.1), (" ", None), ("c", 0.2), ("é", 0.4), (" d", None)]
    assert pieces("ab", []) == [("ab", None)]
    assert pieces("", []) == []


def test_who_asks_may_go_and_what_fails_is_said(capfd):
    """A connection that is reset is no news; what fails unexpectedly is said to the page and written down."""

    def failing(turns):
        raise ValueError("no such weight")

    with serving(failing) as server:
        where = urlsplit(server.url)
        for sent in (b"POST /rep", b"POST /reply HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 99\r\n\r\n{"):  # fmt: skip
            with socket.create_connection((where.hostname, where.port)) as connection:
                connection.sendall(sent)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert _ask(server, "GET", "/")[0] == 200  # which comes after these
        assert capfd.readouterr().err == ""
        status, _, content = _ask(server, "POST", "/reply", json.dumps({"turns": ["hi"]}), Content_Type=JSON)
        assert (status, json.loads(content)) == (
            500,
            {"error": "the reply failed: ValueError: no such weight"},
        )
    assert "ValueError: no such weight" in capfd.readouterr().err
