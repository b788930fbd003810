"""The proxies that the environment names, as httpx2 understands them for its own transports.

httpx2 looks for them only when it makes its transports itself.
"""

from __future__ import annotations

import ipaddress
from urllib.request import getproxies

import httpx2


def environment_proxies() -> dict[str, str | None]:
    """URLs of proxies by the pattern of the URLs that they are for, which is a key of `httpx2.Client(mounts=...)`.

    None stands for no proxy. They come from ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in either
    case, or from the settings of the system.
    """
    known = getproxies()
    found: dict[str, str | None] = {}
    for scheme in ("http", "https", "all"):
        url = known.get(scheme)
        if url:
            found[f"{scheme}://"] = url if "://" in url else f"http://{url}"
    for host in (name.strip() for name in known.get("no", "").split(",")):
        if host == "*":
            return {}
        pattern = _pattern(host)
        if pattern is not None and _is_valid(pattern):
            found[pattern] = None
    return found


def _pattern(host: str) -> str | None:
    """The URLs that an entry of ``NO_PROXY`` stands for; None if it stands for nothing."""
    if not host:
        return None
    if "://" in host:
        return host
    address, slash, bits = host.partition("/")
    version = _version(address)
    if version == 6:
        return f"all://[{address}]{slash}{bits}"
    if version == 4 or host.lower() == "localhost" or host.startswith("["):
        return f"all://{host}"
    if slash:
        return None
    # example.com stands for the domain and all below it, .example.com and *.example.com for those below it.
    return f"all://{host}" if host.startswith("*.") else f"all://*{host}"


def _version(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None


def _is_valid(pattern: str) -> bool:
    try:
        httpx2.Client(mounts={pattern: None}, transport=httpx2.BaseTransport(), trust_env=False)
    except (httpx2.InvalidURL, ValueError):  # older versions let the one through for some hosts
        return False
    return True
