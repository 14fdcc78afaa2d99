"""The address that a server is bound to."""

from __future__ import annotations

import socket

from lazyllm.errors import LauncherError


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket, bound before the model is loaded: a taken port shows at once.

    Raises:
        LauncherError: no such address, or it is taken or not this machine's.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as e:  # names that no DNS can carry are a UnicodeError
        said = getattr(e, "strerror", None) or e
        raise LauncherError(
            f"Host {host!r} is no address that can be found: {said}.",
            hint="give one of this machine's as host (--host), or 127.0.0.1",
        ) from None
    try:
        sock = socket.socket(family, kind, proto)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as e:
        raise LauncherError(
            f"Port {port} of {host} cannot be bound: {e.strerror or e}.", hint="choose another port (--port)"
        ) from e
    sock.listen(2048)
    sock.set_inheritable(True)
    return sock


def url_of(sock: socket.socket) -> str:
    """Return the URL of the API behind a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if sock.family == socket.AF_INET6 else f"http://{host}:{port}/v1"
