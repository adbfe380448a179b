"""Stands in for ComfyUI: answers every GET on 127.0.0.1:PORT with its own process number, and ends
on SIGTERM with a code of its own.

    python3 serve.py PORT
"""

import http.server
import os
import signal
import sys


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"page {self.path} of process {os.getpid()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
