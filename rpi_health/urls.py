"""URLs of brokers and databases: shown without their passwords, and told what is wrong with them.

Pure functions that know the shape of the URLs; nothing of pika, SQLAlchemy, or where a URL comes from. No error quotes
any part of a URL. A ValueError without a message means: tell the user what `Setting.right` says.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qs, quote, unquote, unquote_plus, urlsplit, urlunsplit

MASK = "***"

#: Between the URLs of a cluster. A comma before anything but a URL may be part of a password.
_BETWEEN_URLS = re.compile(r"(,\s*)(?=[A-Za-z][A-Za-z0-9+.-]*://)")
#: What follows postgresql://, read as SQLAlchemy does: the password ends at the first @.
_SERVER = re.compile(r"(?:[^:/]*(?::[^@]*)?@)?(?:\[[^/?\]]+\]|[^/:?@\[]*)(?::[0-9]*)?(?:/[^?@]*)?(?:\?.*)?", re.DOTALL)
_BACKENDS = ("sqlite", "postgresql", "mysql", "mariadb")
_NO_PORT = re.compile(r"[^/?#:\[]*:(?![0-9]*(?:[/?#]|\Z))")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|ssl_options", re.IGNORECASE)
_ENCODE = "special characters in user name and password are written %XX, as %40 for @"


# ── Passwords ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def redact_url(url: str) -> str:
    """The URL, or comma-separated URLs, with `***` for every password. Rather too much than too little; never raises.

    A password with unescaped special characters is masked up to the last `@`; so are query parameters named like one.
    """
    return "".join(map(_redact_one, _BETWEEN_URLS.split(url)))


def _redact_one(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    userinfo, at, tail = rest.rpartition("@")
    user, colon, _ = userinfo.partition(":")
    if at and colon:
        rest = f"{user}:{MASK}@{tail}"
    # What follows the last @ is no host and port, or there is no @: user:password with the host forgotten.
    if _NO_PORT.match(tail):
        rest = f"{rest.partition(':')[0]}:{MASK}"
    return scheme + separator + re.sub(r"([?&;])([^=&;]*)=([^&]*(?:&[^=&]*(?=&|\Z))*)", _redact_parameter, rest)


def _redact_parameter(match: re.Match[str]) -> str:
    separator, name, value = match.groups()
    # The value too: pika's ssl_options is a dict literal that may hold the password of a key.
    secret = _SECRET_NAME.search(unquote(name)) or _SECRET_NAME.search(unquote(value))
    return f"{separator}{name}={MASK}" if secret else match[0]


def passwords_of(url: str) -> set[str]:
    """Every reading of the password of a URL, for a URL with unescaped characters has several."""
    rest = url.partition("://")[2]
    found = set()
    if "@" in rest:
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        heads = (rest.rpartition("@")[0], rest.partition("@")[0], authority.rpartition("@")[0])
        found = {head.partition(":")[2] for head in heads}
    for name, value in re.findall(r"[?&;]([^=&;]*)=([^&]*)", rest):
        if _SECRET_NAME.search(unquote(name)):
            found.add(value)
    return found


def spellings_of(password: str) -> set[str]:
    """A password as it is and as it may stand in a URL."""
    plain = unquote(password)
    return {password, plain, unquote_plus(password), quote(plain, safe=""), quote(password, safe="")}


# ── Brokers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def split_urls(urls: str) -> list[str]:
    """The URLs in a text that separates them by commas."""
    return _BETWEEN_URLS.split(urls)[::2]


def check_amqp_url(url: str) -> None:
    """Raise a ValueError that says what is wrong with the URL of a broker, if anything is."""
    if not re.match(r"amqps?://", url, re.IGNORECASE):
        raise ValueError("a broker's URL begins with amqp:// or amqps://")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(f"its host or port cannot be read: {_ENCODE}") from None
    # An unescaped / ? or # ends the authority early: what is left may still look like a host and a port, which would be
    # connected to and named in messages, though they are pieces of the password.
    beyond = url.partition("://")[2][len(parts.netloc) :]
    if parts.fragment or "@" in beyond or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError(f"it holds an unescaped special character: {_ENCODE}")
    if "/" in parts.path[1:]:
        raise ValueError("a / in the virtual host is written %2F")
    if not parts.hostname:
        raise ValueError("it names no host")
    if port == 0:
        raise ValueError("its port is 0")
    if "," in parts.hostname:
        raise ValueError("after each comma comes a whole URL, from amqp:// on")
    # pika's own way of doing the same, which may turn the verification off without a word.
    if "ssl_options" in parse_qs(parts.query, keep_blank_values=True):
        raise ValueError("in place of ssl_options, set amqp_ca_file, amqp_cert_file and amqp_key_file")


def is_encrypted(url: str) -> bool:
    """Whether a broker's URL asks for TLS."""
    return urlsplit(url).scheme == "amqps"


def with_credentials(url: str, username: str | None, password: str | None) -> str:
    """The URL of a broker with the user name and password put in place of its own, if given.

    Raises:
        ValueError: one of the two would be missing, which pika answers with a TypeError.
    """
    parts = urlsplit(url)
    user = parts.username if username is None else quote(username, safe="")
    secret = parts.password if password is None else quote(password, safe="")
    if user is None and secret is None:
        return url
    if not user:
        raise ValueError("there is a password but no user name: set amqp_username")
    if secret is None:
        raise ValueError("there is a user name but no password: set amqp_password")
    if username is None and password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:{secret}@{host}"))


def is_local(host: str | None) -> bool:
    """Whether a host is this machine itself, as far as its name tells."""
    if host is None or host.rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ── Databases ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_database_url(url: str) -> None:
    """Raise a ValueError that says what is wrong with the URL of a database, if anything is."""
    scheme, separator, rest = url.partition("://")
    backend = scheme.partition("+")[0]
    if backend == "postgres" and separator:
        raise ValueError("write postgresql:// in place of postgres://")
    if not separator or backend not in _BACKENDS:
        raise ValueError
    if backend == "sqlite":
        if "/" not in rest:
            raise ValueError("three slashes and a path: sqlite:///relative.sqlite3 or sqlite:////absolute.sqlite3")
        return
    if not _SERVER.fullmatch(rest):
        raise ValueError(f"its host or port cannot be read: {_ENCODE}")
    # An unescaped ? in a password begins the options: what stands before it would be taken for the host, and be shown.
    userinfo, _, beyond = rest.partition("@")
    if "@" in beyond and "/" not in userinfo.partition(":")[0]:
        raise ValueError(f"it holds an unescaped special character: {_ENCODE}")


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def split_address(text: str) -> tuple[str, int]:
    """The host and the port of `HOST:PORT` or `[IPV6]:PORT`; no host stands for all addresses of this machine.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:/@\[\]]*)):([0-9]{1,5})", text.strip())
    if found is None or int(found[3]) > 65535:
        raise ValueError
    return found[1] or found[2], int(found[3])
