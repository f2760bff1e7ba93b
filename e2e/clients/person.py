"""What a person does in a browser: signs in, reads a page of Clearway's, and sends its form."""

import os
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import requests

GATEWAY = os.environ["CLEARWAY_URL"]
ADMIN = {"Authorization": "Bearer " + os.environ["CLEARWAY_API_KEY"]}


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


def register(**more):
    """An application, as its developer registers it."""
    answer = requests.post(GATEWAY + "/api/v1/oauth/clients", json=more, headers=ADMIN, timeout=30)
    answer.raise_for_status()
    return answer.json()["data"]


def sign_in():
    """The cookie of somebody who has signed in. It is for TLS only, and so not kept where the gateway's clear port is used."""
    login = {"email": os.environ["CLEARWAY_EMAIL"], "password": os.environ["CLEARWAY_PASSWORD"], "cookie": True}
    answer = requests.post(GATEWAY + "/api/v1/auth/login", json=login, timeout=30)
    answer.raise_for_status()
    return "; ".join(part.split(";")[0] for part in answer.headers["Set-Cookie"].split(", ") if part.startswith("__Host-"))


def decide(cookie, url):
    """Opens a page that asks, and says yes."""
    page = requests.get(url, headers={"Cookie": cookie}, timeout=30)
    page.raise_for_status()
    return requests.post(
        url.split("?")[0],
        data=Form(page.text).fields | {"decision": "allow"},
        headers={"Cookie": cookie},
        allow_redirects=False,
        timeout=30,
    )


def agree(cookie, url):
    """Where the browser is sent after the person has agreed, and what that says."""
    answer = decide(cookie, url)
    location = answer.headers.get("Location")
    assert location, answer.text
    return location, {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
