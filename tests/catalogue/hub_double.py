"""A double of the model hub: a real HTTP server on loopback that answers as much of its interface
as fetching asks, out of memory. No part of the real hub runs here."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Repository:
    """Files at one commit; those in `large` are kept as the hub keeps large files (LFS)."""

    commit: str
    files: dict[str, bytes]
    large: frozenset[str] = frozenset()
    gated: bool = False
    #: What the metadata claim instead of the truth, by file: a hub that was tampered with.
    claimed_sha256: dict[str, str] = field(default_factory=dict)

    def sha256(self, path: str) -> str:
        return self.claimed_sha256.get(path) or hashlib.sha256(self.files[path]).hexdigest()

    def git_sha1(self, path: str) -> str:
        content = self.files[path]
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class HubDouble:
    """The server. `requests` are (method, path, range) as they came; `cut_once` breaks off the
    first answer for that file in its middle."""

    def __init__(self, repositories: dict[str, Repository]) -> None:
        self.repositories = repositories
        self.requests: list[tuple[str, str, str | None]] = []
        self.cut_once: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> HubDouble:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def downloads(self) -> list[str]:
        """The files whose content was asked for."""
        return [path.rsplit("/", 1)[-1] for method, path, _ in self.requests if method == "GET"
                and "/resolve/" in path]  # fmt: skip


def _handler(hub: HubDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(with_content=False)

        def do_GET(self) -> None:
            self._answer(with_content=True)

        def _answer(self, *, with_content: bool) -> None:
            path = urlsplit(self.path).path
            hub.requests.append((self.command, path, self.headers.get("Range")))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self._describe("/".join(parts[2:4]), parts[5] if len(parts) > 5 else None)
            elif len(parts) > 4 and parts[2] == "resolve":
                self._give("/".join(parts[:2]), parts[3], "/".join(parts[4:]), with_content)
            else:
                self._refuse(404, "EntryNotFound")

        def _describe(self, name: str, revision: str | None) -> None:
            repository = hub.repositories.get(name)
            if repository is None:
                return self._refuse(404, "RepoNotFound")
            if revision not in (None, "main", repository.commit):
                return self._refuse(404, "RevisionNotFound")
            siblings = [
                {
                    "rfilename": path,
                    "size": len(content),
                    "blobId": repository.git_sha1(path),
                    **(
                        {
                            "lfs": {
                                "sha256": repository.sha256(path),
                                "size": len(content),
                                "pointerSize": 134,
                            }
                        }
                        if path in repository.large
                        else {}
                    ),
                }
                for path, content in repository.files.items()
            ]
            body = json.dumps({"id": name, "sha": repository.commit, "siblings": siblings}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return None

        def _give(self, name: str, commit: str, path: str, with_content: bool) -> None:
            repository = hub.repositories[name]
            if repository.gated:
                return self._refuse(403, "GatedRepo")
            if commit != repository.commit or path not in repository.files:
                return self._refuse(404, "EntryNotFound")
            content = repository.files[path]
            begin = 0
            if wanted := self.headers.get("Range"):
                begin = int(wanted.removeprefix("bytes=").split("-")[0])
            large = path in repository.large
            digest = repository.sha256(path) if large else repository.git_sha1(path)
            self.send_response(206 if begin else 200)
            if begin:
                last = len(content) - 1
                self.send_header("Content-Range", f"bytes {begin}-{last}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - begin))
            self.send_header("ETag", f'"{digest}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("X-Repo-Commit", repository.commit)
            if large:
                self.send_header("X-Linked-Etag", f'"{digest}"')
                self.send_header("X-Linked-Size", str(len(content)))
            self.end_headers()
            if not with_content:
                return None
            if path in hub.cut_once:
                hub.cut_once.discard(path)
                self.wfile.write(content[begin : begin + (len(content) - begin) // 2])
                self.wfile.flush()
                self.close_connection = True
                return None
            self.wfile.write(content[begin:])
            return None

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", f"{code} (double)")
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler
