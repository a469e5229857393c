"""A bucket on this machine: a folder behind HTTP, with ranges, checksums, and what goes wrong on the way."""

import base64
import contextlib
import functools
import hashlib
import http.server
import threading

from tests.http_server import answering


class Bucket(http.server.BaseHTTPRequestHandler):
    """Serves the files of `log.folder`, and does to them what `log` orders."""

    def __init__(self, log, *args):
        self.log = log
        super().__init__(*args)

    def do_GET(self):
        file = self.log.folder / self.path.lstrip("/")
        first = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.log.requests.append((self.path, first))
        if not file.is_file():
            return self.send_error(403)
        content = file.read_bytes()
        digest = base64.b64encode(hashlib.md5(content).digest()).decode()
        if self.log.flipped and self.path.endswith(self.log.flipped):
            content = bytes([content[0] ^ 1]) + content[1:]
        if first >= len(content) > 0:
            return self.send_error(416)
        rest = content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={digest}")
        self.end_headers()
        if self.log.cut_at_tenths:  # the connection breaks at the end of the tenth it is in
            rest = rest[: (len(content) + 9) // 10]
        self.wfile.write(rest)
        self.wfile.flush()
        self.log.served.wait(5)

    def log_message(self, *args):
        pass


class Log:
    """What a bucket serves and has served.

    Attributes:
        folder: path. requests: list of (path, first byte).
        flipped: ending of the files that arrive with a wrong first byte.
        cut_at_tenths: whether each answer ends after a tenth of the file. served: event that answers wait for.
    """

    def __init__(self, folder):
        self.folder, self.requests, self.flipped, self.cut_at_tenths = folder, [], None, False
        self.served = threading.Event()
        self.served.set()


@contextlib.contextmanager
def serve(folder):
    """Yields (address, Log) of a bucket with the files of a folder."""
    log = Log(folder)
    with answering(functools.partial(Bucket, log)) as address:
        yield address, log
