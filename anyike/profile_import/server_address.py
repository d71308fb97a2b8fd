"""A server's address as profiles write it: a host, and what a group URL has around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_AUTHORITY = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<name>[^:]*))(?::(?P<port>[0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """`[https://]host[:port][/group]` in its parts; "" for one that is not there. The host is not checked."""

    host: str
    port: str = ""
    group: str = ""


def parse_address(text: str) -> ServerAddress:
    """The parts of an address. The schema allows names and IP addresses; group URLs are common nevertheless.

    An IPv6 address may stand alone, or in brackets as URLs have it.
    """
    authority, _, group = re.sub("^https://", "", text.strip(), flags=re.IGNORECASE).partition("/")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return ServerAddress(authority, group=group.strip("/"))
    return ServerAddress(found["literal"] or found["name"] or "", found["port"] or "", group.strip("/"))
