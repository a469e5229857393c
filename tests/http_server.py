"""An HTTP server on this machine for a while."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def answering(handler):
    """Yields the address of a server whose requests go to handler(*arguments of BaseHTTPRequestHandler)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
