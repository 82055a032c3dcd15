"""A double of the model hub that takes uploads too: as much of its interface as the genuine library
asks for one commit (create, validate, preupload, LFS batch and transfer, commit), out of memory.

By hand, its address on the first line of its output (any token will do):
    python -m tests.registration.hub_double
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

from tests.catalogue.hub_double import HubDouble, Repository


class WritableHubDouble(HubDouble):
    """`tokens` are those that may write; `visibility` what repositories were made as; `parents` the
    commit that each commit was said to stand on."""

    def __init__(self, repositories: dict[str, Repository], tokens: set[str] | None) -> None:
        super().__init__(repositories)
        self.tokens = tokens
        self.visibility: dict[str, str | None] = {}
        self.parents: list[str | None] = []
        self.messages: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self._server.RequestHandlerClass = _taking(self, self._server.RequestHandlerClass)

    def serve_for_ever(self) -> None:
        self._server.serve_forever()

    def commit(self, name: str, lines: list[dict[str, Any]]) -> str | None:
        """Apply a commit; its name, or None when it stands on another one than the newest."""
        there = self.repositories[name]
        header = next(line["value"] for line in lines if line["key"] == "header")
        parent = header.get("parentCommit")
        if parent is not None and parent != there.commit:
            return None
        files, large = dict(there.files), set(there.large)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
                large.discard(value["path"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.blobs[value["oid"]]
                large.add(value["path"])
        self.parents.append(parent)
        self.messages.append(header["summary"])
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.repositories[name] = Repository(commit, files, frozenset(large))
        return commit


def _taking(hub: WritableHubDouble, reading: Any) -> Any:
    class Handler(reading):  # type: ignore[misc]
        def do_PUT(self) -> None:
            content = self._body()
            oid = self.path.rsplit("/", 1)[-1]
            if hashlib.sha256(content).hexdigest() != oid:
                return self._say(400, {"error": "content is not its digest"})
            hub.blobs[oid] = content
            return self._say(200, {})

        def do_POST(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(("POST", path, None))
            content = self._body()
            if path == "/api/validate-yaml":
                return self._say(200, {"warnings": [], "errors": []})
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if not token or (hub.tokens is not None and token not in hub.tokens):
                return self._say(401, {"error": "Invalid username or password."})
            parts = path.strip("/").split("/")
            if path == "/api/repos/create":
                return self._create(json.loads(content))
            if path.endswith(".git/info/lfs/objects/batch"):
                return self._batch(json.loads(content))
            if parts[:2] == ["api", "models"] and len(parts) == 6 and parts[4] == "preupload":
                return self._preupload(json.loads(content))
            if parts[:2] == ["api", "models"] and len(parts) == 6 and parts[4] == "commit":
                return self._commit("/".join(parts[2:4]), content)
            return self._say(404, {"error": "no such thing"})

        def _create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['organization']}/{asked['name']}"
            if name in hub.repositories:
                return self._say(409, {"error": "You already created this model repo"})
            hub.visibility[name] = asked.get("visibility")
            hub.repositories[name] = Repository("0" * 40, {})
            return self._say(200, {"url": f"{hub.url}/{name}"})

        def _preupload(self, asked: dict[str, Any]) -> None:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                    "oid": None,
                }
                for file in asked["files"]
            ]
            return self._say(200, {"files": files})

        def _batch(self, asked: dict[str, Any]) -> None:
            objects = [
                {
                    **entry,
                    "actions": {"upload": {"href": f"{hub.url}/lfs/{entry['oid']}", "header": {}}},
                }
                for entry in asked["objects"]
            ]
            return self._say(200, {"transfer": "basic", "objects": objects})

        def _commit(self, name: str, content: bytes) -> None:
            lines = [json.loads(line) for line in content.splitlines()]
            commit = hub.commit(name, lines)
            if commit is None:
                return self._say(412, {"error": "A commit has happened since."})
            url = f"{hub.url}/{name}/commit/{commit}"
            return self._say(200, {"success": True, "commitOid": commit, "commitUrl": url})

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                content = b""
                while size := int(self.rfile.readline(), 16):
                    content += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return content
            return bytes(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _say(self, status: int, answer: dict[str, Any]) -> None:
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


if __name__ == "__main__":
    by_hand = WritableHubDouble({}, None)
    print(by_hand.url, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        by_hand.serve_for_ever()
