"""Verifies every message with the package of Standard Webhooks, and answers 204 where it takes it and 400 where it does
not. Says its port on standard output, and ends with standard input."""

import http.server
import os
import sys
import threading

from standardwebhooks import Webhook

WEBHOOK = Webhook(sys.argv[1])


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            WEBHOOK.verify(body, dict(self.headers.items()))
            self.answer(204, b"")
        except Exception as why:
            self.answer(400, str(why).encode())

    def answer(self, status, body):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end_with_standard_input():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=end_with_standard_input, daemon=True).start()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_address[1], flush=True)
server.serve_forever()
