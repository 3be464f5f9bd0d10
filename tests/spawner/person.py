"""Somebody with a browser that runs no JavaScript: cookies, forms, pages."""

from __future__ import annotations

from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin

from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from tests.spawner.hubs import SECONDS, Hub


class Form(HTMLParser):
    """The form of a page: where it goes, and what its fields say."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = named.get("action", "")
        chosen = named.get("type") != "radio" or "checked" in named
        if tag == "input" and named.get("name") and chosen:
            self.fields[named["name"]] = named.get("value", "")


class Person:
    """Logged in at a hub."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self._cookies: dict[str, str] = {}

    async def log_in(self) -> None:
        page = await self.get("login")
        form = Form(page.body.decode())
        form.fields |= {"username": self.name, "password": "x"}
        answer = await self._fetch(
            urljoin(f"{self.hub.public}/base/hub/login", form.action), urlencode(form.fields)
        )
        assert answer.code == 302, answer.body

    async def get(self, *path: str, query: str = "") -> HTTPResponse:
        """A page of the hub, redirects not followed."""
        return await self._fetch(f"{self.hub.public}/base/hub/{'/'.join(path)}{query}")

    async def send(self, page: HTTPResponse, **fields: str) -> HTTPResponse:
        """Press the button of this page's form after filling in these fields."""
        form = Form(page.body.decode())
        return await self._fetch(
            urljoin(page.effective_url, form.action), urlencode(form.fields | fields)
        )

    async def _fetch(self, url: str, body: str | None = None) -> HTTPResponse:
        request = HTTPRequest(
            url,
            method="GET" if body is None else "POST",
            body=body,
            headers={"Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items())},
            follow_redirects=False,
            request_timeout=SECONDS,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        for line in answer.headers.get_list("Set-Cookie"):
            for name, cookie in SimpleCookie(line).items():
                self._cookies[name] = cookie.value
        return answer
