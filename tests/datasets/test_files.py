import gzip
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from geodl import datasets


CONTENT = np.random.default_rng(0).integers(0, 9, 600_000, dtype=np.uint8).tobytes()
BLOCK = 1 << 16  # what is written at a time
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends `files`; each request takes a number of bytes from `breaks` to break off after."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.requests, self.resumes = {}, [], [], True

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name, asked = self.path.lstrip("/"), self.headers.get("Range")
        self.server.requests.append((name, asked))
        if name not in self.server.files:
            return self.send_error(404)
        body = self.server.files[name]
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if not self.server.resumes:
            start = 0
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.server.breaks.pop(0) if self.server.breaks else len(body)
        self.wfile.write(body[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        server.files["data.gz"] = gzip.compress(CONTENT, 1)
        server.files["data"] = CONTENT
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(tmp_path, *urls):
    return datasets.fetch("sets/data", urls, SHA256, tmp_path, progress=False)


def test_a_file_is_fetched_once(server, tmp_path):
    for _ in range(2):
        path = fetch(tmp_path, server.url("data.gz"))
        assert path == tmp_path / "sets" / "data"
        assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert os.listdir(tmp_path / "sets") == ["data"]
    path.write_bytes(CONTENT[:-1])  # damaged since
    assert fetch(tmp_path, server.url("data.gz")).read_bytes() == CONTENT


def test_another_compression_has_the_same_checksum(server, tmp_path):
    server.files["data.gz"] = gzip.compress(CONTENT, 9)
    assert fetch(tmp_path / "a", server.url("data.gz")).read_bytes() == CONTENT
    assert fetch(tmp_path / "b", server.url("data")).read_bytes() == CONTENT


def test_a_broken_download_is_taken_up_where_it_stopped(server, tmp_path):
    server.breaks = [2 * BLOCK, BLOCK + 5]
    assert fetch(tmp_path, server.url("data")).read_bytes() == CONTENT
    assert server.requests == [
        ("data", None),
        ("data", f"bytes={2 * BLOCK}-"),
        ("data", f"bytes={3 * BLOCK}-"),
    ]


def test_a_later_call_takes_up_an_earlier_one(server, tmp_path):
    server.breaks = [BLOCK, 0, 0, 0, 0]
    with pytest.raises(OSError, match="could not be fetched"):
        fetch(tmp_path, server.url("data"))
    assert fetch(tmp_path, server.url("data")).read_bytes() == CONTENT
    assert server.requests[-1] == ("data", f"bytes={BLOCK}-")
    assert os.listdir(tmp_path / "sets") == ["data"]


def test_a_download_complete_but_for_its_end(server, tmp_path):
    """Killed after the last byte, before the file was renamed: the server has no more to send."""
    server.breaks = [len(CONTENT) - 1, 0, 0, 0, 0]
    with pytest.raises(OSError, match="could not be fetched"):
        fetch(tmp_path, server.url("data"))
    (part,) = (tmp_path / "sets").glob("*.part")
    part.write_bytes(CONTENT)
    assert fetch(tmp_path, server.url("data")).read_bytes() == CONTENT


def test_a_server_that_cannot_resume(server, tmp_path):
    server.resumes, server.breaks = False, [100_000]
    assert fetch(tmp_path, server.url("data")).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_wrong_bytes_are_refused_and_forgotten(server, tmp_path):
    wrong = CONTENT[:-1] + b"x"
    server.files["data"] = wrong
    server.files["data.gz"] = gzip.compress(CONTENT)[:-100]
    with pytest.raises(OSError) as error:
        fetch(tmp_path, server.url("data"), server.url("data.gz"), server.url("nothing"))
    message = str(error.value)
    assert str(tmp_path / "sets" / "data") in message and SHA256 in message
    assert f"{server.url('data')}: the content has SHA-256 {hashlib.sha256(wrong).hexdigest()}" in (
        message
    )
    assert f"{server.url('data.gz')}: Compressed file ended" in message
    assert "404" in message and server.url("nothing") in message
    assert os.listdir(tmp_path / "sets") == []
    server.files["data"] = CONTENT
    assert fetch(tmp_path, server.url("data")).read_bytes() == CONTENT


def test_the_next_mirror_is_tried(server, tmp_path):
    server.files["wrong"] = b"<html>"
    path = fetch(tmp_path, server.url("nothing"), server.url("wrong"), server.url("data.gz"))
    assert path.read_bytes() == CONTENT


def test_progress_is_shown(server, tmp_path, capsys):
    datasets.fetch("data", [server.url("data")], SHA256, tmp_path)
    shown = capsys.readouterr().err
    assert "data" in shown and "600k/600k" in shown


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("GEODL_DATA", str(tmp_path))
    assert datasets.data_dir() == tmp_path
    monkeypatch.setenv("GEODL_DATA", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none is not a folder"):
        datasets.data_dir()
    monkeypatch.delenv("GEODL_DATA")
    with pytest.raises(FileNotFoundError, match="GEODL_DATA is not set; it should name"):
        datasets.data_dir()
