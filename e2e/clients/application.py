"""An application of a person's, by authlib: asks, refreshes, calls the API, gives its access back.

Prints what it met as one line of JSON.
"""

import json
from urllib.parse import urlsplit

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from person import GATEWAY, agree, register, sign_in

REDIRECT = "https://app.example/callback"


def here(url):
    """The metadata says where people find the gateway; the test's listens elsewhere."""
    return GATEWAY + urlsplit(url).path


client = register(name="By authlib", redirect_uris=[REDIRECT], scopes=["read:keys"])
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
location, said = agree(sign_in(), url)
assert location.startswith(REDIRECT + "?") and said["state"] == state and said["iss"] == metadata["issuer"], location

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
