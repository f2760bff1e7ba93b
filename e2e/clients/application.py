"""An application of a person's, by authlib: registers, asks, refreshes, calls the API, gives its access back.

Prints what it met as one line of JSON. The consent page is used as a browser would use it: its form is read and sent.
"""

import json
import os
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

GATEWAY = os.environ["CLEARWAY_URL"]
REDIRECT = "https://app.example/callback"


class Form(HTMLParser):
    """The hidden fields of a page's form."""

    def __init__(self, html):
        super().__init__()
        self.fields = {}
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "input" and attrs.get("type") == "hidden":
            self.fields[attrs["name"]] = attrs["value"]


def here(url):
    """The metadata says where people find the gateway; the test's listens elsewhere."""
    return GATEWAY + urlsplit(url).path


admin = {"Authorization": "Bearer " + os.environ["CLEARWAY_API_KEY"]}
app = {"name": "By authlib", "redirect_uris": [REDIRECT], "scopes": ["read:keys"]}
registered = requests.post(GATEWAY + "/api/v1/oauth/clients", json=app, headers=admin, timeout=30)
registered.raise_for_status()
client = registered.json()["data"]

metadata = requests.get(GATEWAY + "/.well-known/oauth-authorization-server", timeout=30).json()
session = OAuth2Session(
    client["client_id"],
    client["client_secret"],
    scope="read:keys",
    redirect_uri=REDIRECT,
    token_endpoint_auth_method="client_secret_basic",
    code_challenge_method="S256",
)
verifier = generate_token(64)
url, state = session.create_authorization_url(here(metadata["authorization_endpoint"]), code_verifier=verifier)

login = {"email": os.environ["CLEARWAY_EMAIL"], "password": os.environ["CLEARWAY_PASSWORD"], "cookie": True}
signed_in = requests.post(GATEWAY + "/api/v1/auth/login", json=login, timeout=30)
signed_in.raise_for_status()
# The cookie is for TLS only, and this is the gateway's clear port on loopback.
cookie = "; ".join(f"{name}={value}" for name, value in signed_in.cookies.items())
if not cookie:
    cookie = "; ".join(part.split(";")[0] for part in signed_in.headers["Set-Cookie"].split(", ") if part.startswith("__Host-"))
page = requests.get(url, headers={"Cookie": cookie}, timeout=30)
page.raise_for_status()
answer = requests.post(
    here(metadata["authorization_endpoint"]),
    data=Form(page.text).fields | {"decision": "allow"},
    headers={"Cookie": cookie},
    allow_redirects=False,
    timeout=30,
)
location = answer.headers["Location"]
said = parse_qs(urlsplit(location).query)
assert location.startswith(REDIRECT + "?") and said["state"] == [state] and said["iss"] == [metadata["issuer"]], location

token = session.fetch_token(here(metadata["token_endpoint"]), authorization_response=location, code_verifier=verifier)
keys = KeySet.import_key_set(requests.get(here(metadata["jwks_uri"]), timeout=30).json())
decoded = jwt.decode(token["access_token"], keys, algorithms=["ES256"])
assert decoded.header["typ"] == "at+jwt" and decoded.claims["client_id"] == client["client_id"], decoded.claims
first = token["refresh_token"]
token = session.refresh_token(here(metadata["token_endpoint"]))


def keys_status():
    return requests.get(
        GATEWAY + "/api/v1/keys", headers={"Authorization": "Bearer " + token["access_token"]}, timeout=30
    )


facts = {"scope": token["scope"], "refreshed": token["refresh_token"] != first, "before": keys_status().status_code}
session.revoke_token(here(metadata["revocation_endpoint"]), token=token["refresh_token"]).raise_for_status()
after = keys_status()
facts |= {"after": after.status_code, "after_says": after.json()["error"]["type"]}
introspected = session.introspect_token(here(metadata["introspection_endpoint"]), token=token["access_token"])
facts["introspected_after"] = introspected.json()["active"]
print(json.dumps(facts))
