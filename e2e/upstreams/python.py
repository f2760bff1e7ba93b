"""Answers every request with what Python makes of it. Says its port on standard output, and ends with
standard input, so that it cannot outlive the test that started it."""

import http.server
import json
import os
import sys
import threading
import urllib.parse


def decoded(path):
    try:
        return urllib.parse.unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write an answer, not held back.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        body = json.dumps(
            {
                "stack": "python",
                "method": self.command,
                "host": self.headers["Host"],
                # `self.path` has been repaired already where it began with two slashes.
                "target": self.requestline.split(" ")[1],
                "path": url.path,
                "decoded": decoded(url.path),
                "query": url.query,
                "request_id": self.headers["X-Request-Id"],
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_standard_input():
    sys.stdin.read()
    os._exit(0)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
threading.Thread(target=end_with_standard_input, daemon=True).start()
print(server.server_address[1], flush=True)
server.serve_forever()
