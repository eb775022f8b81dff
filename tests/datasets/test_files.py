import gzip
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from geodl import datasets


CONTENT = np.random.default_rng(0).integers(0, 9, 600_000, dtype=np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Sends ``files``; each request takes a number of bytes from ``breaks`` to break off after."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.breaks, self.requests = {}, [], []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.lstrip("/")
        self.server.requests.append(name)
        if name not in self.server.files:
            return self.send_error(404)
        body = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks.pop(0) if self.server.breaks else None])

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


def test_a_broken_download_leaves_nothing(server, tmp_path):
    server.breaks = [100_000, 100_000]
    with pytest.raises(OSError, match="could not be fetched"):
        fetch(tmp_path, server.url("data"), server.url("data.gz"))
    assert os.listdir(tmp_path / "sets") == []
    server.breaks = [100_000]
    assert fetch(tmp_path, server.url("data"), server.url("data.gz")).read_bytes() == CONTENT


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
    assert "600k/600k" in shown


def test_data_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("GEODL_DATA", str(tmp_path))
    assert datasets.data_dir() == tmp_path
    monkeypatch.setenv("GEODL_DATA", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none is not a folder"):
        datasets.data_dir()
    monkeypatch.delenv("GEODL_DATA")
    with pytest.raises(FileNotFoundError, match="GEODL_DATA is not set; it should name"):
        datasets.data_dir()
