"""A person's browser without JavaScript: cookies, forms, redirects and `meta refresh`."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import aiohttp
from yarl import URL

PATIENCE = aiohttp.ClientTimeout(total=150)
REFRESH = re.compile(r'<meta http-equiv="refresh" content="(\d+); url=([^"]*)">')
FORM = re.compile(r'<form[^>]*id="spawn_form"[^>]*action="([^"]*)"', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What is shown, and where it goes by itself after how many seconds."""

    url: str
    status: int
    text: str
    headers: dict[str, str]

    @property
    def goes_to(self) -> str | None:
        found = REFRESH.search(self.text)
        return html.unescape(found[2]) if found else None

    @property
    def form_action(self) -> str:
        found = FORM.search(self.text)
        assert found, self.text
        return html.unescape(found[1])

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


class Browser:
    """One person, logged in."""

    def __init__(self, session: aiohttp.ClientSession, root: str) -> None:
        self._session = session
        self._root = root

    async def open(self, path: str) -> Page:
        return await self._page("GET", path)

    async def send(self, path: str, fields: dict[str, str]) -> Page:
        return await self._page("POST", path, data=fields)

    async def goes_on(self, page: Page) -> Page:
        """What the page does by itself, without waiting for it."""
        assert page.goes_to is not None, page.text
        return await self.open(page.goes_to)

    async def _page(self, method: str, path: str, **more: object) -> Page:
        url = URL(f"{self._root}{path}" if path.startswith("/") else path, encoded=True)
        async with self._session.request(method, url, **more) as answer:  # type: ignore[arg-type]
            return Page(
                url=str(answer.url),
                status=answer.status,
                text=await answer.text(),
                headers=dict(answer.headers),
            )


@asynccontextmanager
async def browser(public: str, base: str, user: str) -> AsyncIterator[Browser]:
    """Somebody who just logged in; nothing was started."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, timeout=PATIENCE) as session:
        login = f"{public}{base}hub/login"
        async with session.get(login) as form:
            token = re.search(r'name="_xsrf" value="([^"]*)"', await form.text())
        assert token
        fields = {"username": user, "password": "x", "_xsrf": html.unescape(token[1])}
        aim = f"{login}?next={base}hub/home"
        async with session.post(aim, data=fields) as home:
            assert urlsplit(str(home.url)).path == f"{base}hub/home", await home.text()
        yield Browser(session, public)


def asked(page: Page) -> dict[str, list[str]]:
    """The query of the address where it goes."""
    return parse_qs(urlsplit(page.goes_to or "").query)
