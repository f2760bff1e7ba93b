"""Applications by requests-oauthlib: one of a person's, without a secret, and one that acts by itself.

Prints the steps that went as they should, as one line of JSON.
"""

import json

from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from person import GATEWAY, agree, register, sign_in

REDIRECT = "http://127.0.0.1/callback"
# Of a loopback address the port may differ (RFC 8252, 7.3).
LISTENS = "http://127.0.0.1:53682/callback"
done = []

app = register(
    name="By requests-oauthlib",
    redirect_uris=[REDIRECT],
    scopes=["read:keys"],
    token_endpoint_auth_method="none",
)
session = OAuth2Session(app["client_id"], redirect_uri=LISTENS, scope=["openid", "profile", "email", "read:keys"], pkce="S256")
metadata = session.get(GATEWAY + "/.well-known/oauth-authorization-server", withhold_token=True, timeout=30).json()
assert metadata["issuer"] == GATEWAY, metadata["issuer"]
done.append("metadata")

url, state = session.authorization_url(metadata["authorization_endpoint"])
location, said = agree(sign_in(), url)
assert location.startswith(LISTENS + "?") and said["state"] == state and said["iss"] == GATEWAY, location
# requests-oauthlib wants https of whoever it is sent back to; what the code travels by here is no network.
token = session.fetch_token(metadata["token_endpoint"], code=said["code"], include_client_id=True)
assert token["token_type"] == "Bearer" and set(token["scope"]) == {"openid", "profile", "email", "read:keys"}, token["scope"]
done.append("code")

who = session.get(metadata["userinfo_endpoint"], timeout=30).json()
assert who["email_verified"] is True and who["sub"].startswith("user_"), who
done.append("userinfo")

refreshed = session.refresh_token(metadata["token_endpoint"], client_id=app["client_id"])
assert refreshed["refresh_token"] != token["refresh_token"]
assert session.get(GATEWAY + "/api/v1/keys", timeout=30).status_code == 200
done.append("refresh")

gone = {"token": refreshed["refresh_token"], "client_id": app["client_id"]}
assert session.post(metadata["revocation_endpoint"], data=gone, withhold_token=True, timeout=30).status_code == 200
assert session.get(GATEWAY + "/api/v1/keys", timeout=30).status_code == 401
done.append("revocation")

worker = register(name="A worker", scopes=["read:keys"], grant_types=["client_credentials"])
backend = OAuth2Session(client=BackendApplicationClient(client_id=worker["client_id"], scope=["read:keys"]))
backend.fetch_token(metadata["token_endpoint"], client_id=worker["client_id"], client_secret=worker["client_secret"])
assert backend.get(GATEWAY + "/api/v1/keys", timeout=30).status_code == 200
done.append("client_credentials")
print(json.dumps(done))
