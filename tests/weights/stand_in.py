"""A server on this machine that imitates the Hugging Face hub, and what it serves."""

import contextlib
import hashlib
import http.server
import threading

from safetensors.numpy import save_file

import senet
from senet.models.complexity import shapes_only
from senet.weights import catalogue, schemes
from tests.weights import generated

NETWORK = "se_resnet50"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SETTINGS = {
    **{"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
    **{"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"},
    **{"HF_HUB_DOWNLOAD_TIMEOUT": "3", "HF_HUB_ETAG_TIMEOUT": "3"},
}
"""Of a process that is to ask the server."""


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves one file of one repository; `broken` cuts each answer off after so many bytes."""

    repository = file = None
    broken = None
    requests = None

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        Hub.requests.append((self.command, self.path))
        parts = self.path.strip("/").split("/")
        if "/".join(parts[:2]) != self.repository or parts[-1] != "model.safetensors":
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.file.read_bytes()
        start = 0
        if requested := self.headers.get("Range"):
            start = int(requested.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if requested else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        if requested:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if body:
            end = len(data) if self.broken is None else start + self.broken
            self.wfile.write(data[start:end])
            if self.broken is not None:
                self.wfile.flush()
                self.connection.close()

    def log_message(self, *arguments):
        pass


def write_published(folder):
    """Generated weights of a published network as the hub would have them: its row, their file."""
    with shapes_only():
        model = senet.create(NETWORK, variant="torch")
    arrays = {
        slot.name: generated.values(slot.name, slot.shape)
        for slot in schemes.slots(model, schemes.SCHEMES["timm"], model.card.spec)
    }
    path = folder / "model.safetensors"
    save_file(arrays, path, {"format": "pt"})
    return catalogue.published(NETWORK, "imagenet"), path


@contextlib.contextmanager
def serve(row, path):
    """Serve the file of a published network; the address."""
    Hub.repository, Hub.file, Hub.broken, Hub.requests = row.repository, path, None, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
