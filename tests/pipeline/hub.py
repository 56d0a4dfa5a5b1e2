"""A dataset hub on the loopback network: as much of the Hugging Face hub's protocol as its own client asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

NAME, COMMIT = "someone/texts", "5" * 40


class Hub(ThreadingHTTPServer):
    """Serves `files` as the one dataset NAME. `asked` are the files whose content went out."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.refused: set[str] = set()  # files that the hub is out of order for
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        for begin, answer in (
            (f"/datasets/{NAME}/resolve/", self.file),
            (f"/api/datasets/{NAME}/tree/", self.tree),
            (f"/api/datasets/{NAME}", self.about),
        ):
            if path.startswith(begin):
                return answer(path.removeprefix(begin).partition("/")[2])
        return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 (http.server's name)

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        self.json([entry for entry in self.entries() if entry["path"] in wanted])

    def file(self, path: str) -> None:
        if path in self.server.refused:
            return self.answer(403, b"", {})
        if path not in self.server.files:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = self.server.files[path]
        if self.command == "GET":
            self.server.asked.append(path)
        return self.answer(200, content, {"ETag": f'"{digest(content)}"', "X-Repo-Commit": COMMIT})

    def tree(self, folder: str) -> None:
        """What is in a folder: files, and the names of folders; with ?recursive=true what is in these, too."""
        below = f"{folder}/" if folder else ""
        found = [entry for entry in self.entries() if entry["path"].startswith(below)]
        if "recursive=true" not in self.path.lower():
            deeper = {below + entry["path"].removeprefix(below).partition("/")[0]: entry for entry in found}
            found = [
                entry if name == entry["path"] else {"type": "directory", "path": name, "oid": "0" * 40}
                for name, entry in deeper.items()
            ]
        self.json(found)

    def about(self, path: str) -> None:
        siblings = [{"rfilename": name} for name in self.server.files]
        self.json({"id": NAME, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": siblings})

    def entries(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": digest(content)}
            for name, content in self.server.files.items()
        ]

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def answer(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the tests speak."""


def digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Hub]:
    hub = Hub(files)
    thread = Thread(target=hub.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()
