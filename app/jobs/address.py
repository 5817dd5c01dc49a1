"""The address of the queue: one server, a master that Sentinels name, or the node of a cluster that has our keys.

| form of the URL | what it means |
|---|---|
| `redis://[user:password@]host[:6379][/db]`, `rediss://...` | one server; the second with TLS |
| `unix:///path/of/socket` | one server on this machine |
| `redis+sentinel://[user:password@]host[:26379],host2,.../name[/db]`, `rediss+sentinel://...` | the master `name` |
| `redis+cluster://[user:password@]host[:6379],host2,...`, `rediss+cluster://...` | Redis Cluster; some of its nodes |

Behind `?` may follow what redis-py takes there, such as `ssl_ca_certs=/etc/ca.pem`; with Sentinels also
`sentinel_username` and `sentinel_password`, where they ask for a login. Pure functions; no error shows the URL, which
may hold a password.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from app.errors import UnusableRedisError

Kind = Literal["server", "sentinel", "cluster"]
Node = tuple[str, int]

SERVER_PORT = 6379
SENTINEL_PORT = 26379

_SCHEMES: dict[str, tuple[Kind, str]] = {  # and the scheme of a single node
    "redis": ("server", "redis"),
    "rediss": ("server", "rediss"),
    "unix": ("server", "unix"),
    "redis+sentinel": ("sentinel", "redis"),
    "rediss+sentinel": ("sentinel", "rediss"),
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
}


@dataclass(frozen=True)
class QueueAddress:
    """Where the queue is.

    Attributes:
        kind: What is there.
        node_url: URL of one node as redis-py takes it: of the server, or of any node, whose host is to be replaced.
        nodes: Sentinels, or nodes of the cluster; empty for a single server.
        master: Name of the master that the Sentinels watch; empty without them.
        sentinel_login: User and password for the Sentinels; each may be empty.
    """

    kind: Kind
    node_url: str
    nodes: tuple[Node, ...] = ()
    master: str = ""
    sentinel_login: tuple[str, str] = ("", "")


def parse_address(url: str) -> QueueAddress:
    """Read an address.

    Raises:
        UnusableRedisError: It has none of the forms.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        named = repr(scheme[:32]) if separator else "no scheme"
        raise _wrong(f"it has {named}; expected one of {', '.join(f'{name}://' for name in _SCHEMES)}")
    kind, node_scheme = _SCHEMES[scheme]
    try:
        parts = urlsplit(url)
        if kind == "server":
            _ = parts.port  # which is read only now
            return QueueAddress(kind, url)
    except ValueError:
        raise _wrong("it cannot be read as a URL; look at the host and the port") from None
    login, at, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(host, SENTINEL_PORT if kind == "sentinel" else SERVER_PORT) for host in hosts.split(","))
    place = [unquote(part) for part in parts.path.split("/") if part]
    options = dict(parse_qsl(parts.query))
    master, db = "", "0"
    if kind == "sentinel":
        if len(place) not in (1, 2) or (len(place) == 2 and not place[1].isdecimal()):
            raise _wrong(f"{scheme}:// ends with the name of a master, such as /mymaster or /mymaster/0")
        master, db = place[0], place[1] if len(place) == 2 else "0"
    elif place not in ([], ["0"]):
        raise _wrong("a cluster has no other database than 0; leave the path out")
    sentinel_login = options.pop("sentinel_username", ""), options.pop("sentinel_password", "")
    query = f"?{urlencode(options)}" if options else ""
    node_url = f"{node_scheme}://{login}{at}localhost/{db}{query}"
    return QueueAddress(kind, node_url, nodes, master, sentinel_login)


def _node(text: str, default_port: int) -> Node:
    """Read "host", "host:port", "[v6]" or "[v6]:port"."""
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _wrong("between :// and / come hosts with commas between, each with a port of 1 to 65535 or none")
    return host, int(port)


def _wrong(reason: str) -> UnusableRedisError:
    return UnusableRedisError(f"VLMIR_REDIS_URL is not the address of a queue: {reason}.")
