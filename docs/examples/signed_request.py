#!/usr/bin/env python3
"""Sends a signed request (RFC 9421, hmac-sha256; RFC 9530) with nothing but Python's standard library.

    export CLEARWAY_KEY=clw_live_…           # leave out where the route takes a signature in place of the key
    export CLEARWAY_KEY_ID=key_…
    export CLEARWAY_SIGNING_SECRET=…         # base64, as it was shown once
    python3 signed_request.py POST http://127.0.0.1:8080/orders?draft=1 '{"item": 7}'
"""

import base64
import hashlib
import hmac
import http.client
import os
import secrets
import sys
import time
from urllib.parse import urlsplit


def signed(method, url, body, key_id, signing_secret):
    """The headers that sign a request; `body` is bytes, or None where there is none."""
    parts = urlsplit(url)
    covered = [("@method", method), ("@authority", parts.netloc.lower()), ("@path", parts.path or "/")]
    if parts.query:
        covered.append(("@query", "?" + parts.query))
    headers = {}
    if body is not None:
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        headers["Content-Digest"] = f"sha-256=:{digest}:"
        covered.append(("content-digest", headers["Content-Digest"]))
    names = " ".join(f'"{name}"' for name, _ in covered)
    # The nonce tells two requests of the same second apart: a signature is accepted once.
    params = f'({names});created={int(time.time())};nonce="{secrets.token_urlsafe(12)}";keyid="{key_id}"'
    base = "".join(f'"{name}": {value}\n' for name, value in covered) + f'"@signature-params": {params}'
    mac = hmac.new(base64.b64decode(signing_secret), base.encode(), hashlib.sha256).digest()
    headers["Signature-Input"] = f"sig={params}"
    headers["Signature"] = f"sig=:{base64.b64encode(mac).decode()}:"
    return headers


def main():
    method, url = sys.argv[1], sys.argv[2]
    body = sys.argv[3].encode() if len(sys.argv) > 3 else None
    headers = signed(method, url, body, os.environ["CLEARWAY_KEY_ID"], os.environ["CLEARWAY_SIGNING_SECRET"])
    if "CLEARWAY_KEY" in os.environ:
        headers["Authorization"] = "Bearer " + os.environ["CLEARWAY_KEY"]
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.netloc, timeout=30)
    connection.request(method, (parts.path or "/") + ("?" + parts.query if parts.query else ""), body, headers)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode(errors="replace"))
    sys.exit(0 if answer.status < 400 else 1)


if __name__ == "__main__":
    main()
