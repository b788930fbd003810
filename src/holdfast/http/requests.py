"""Makes a `Job` of what a caller asked for: URL, headers, body, ids, and the policies of this one call.

Everything that can be wrong with a request is found here, before anything is sent.
"""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias

import httpx2

from holdfast.core.deadline import longest
from holdfast.core.effects import FOREVER, Job
from holdfast.core.ports import CacheUse, KnownUse, Plan
from holdfast.core.replay import IDEMPOTENT
from holdfast.http.bodies import MultipartBody, body_of, rewindable_files
from holdfast.http.context import serving
from holdfast.http.cookies import OriginJar
from holdfast.http.given import BAD_VALUE, BadRequest, check_framing, checked_method, given_headers, set_default
from holdfast.http.identity import Selector
from holdfast.http.ids import RequestIds
from holdfast.http.options import ON_CALL
from holdfast.http.origins import Origins, Target
from holdfast.http.policies import CallPolicies
from holdfast.parts import CacheConfig

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"})
_KEYED_METHODS = frozenset({"POST", "PATCH"})
_TTL = frozenset({"cache_ttl"})
_ENCODED = ("params", "cookies", "data", "files")
_PER_CALL = frozenset({b"X-Request-ID", b"Idempotency-Key", b"X-Correlation-ID", b"traceparent"})
_MOST_TEMPLATES = 1024
_PRIVATE = ("headers", "auth", "cookies", "params")  # what may hold credentials
_FLAT = (bytes, str, bytearray, memoryview)
_NOTHING: dict[str, Any] = {}
_Plain: TypeAlias = tuple[str, str | httpx2.URL, bool, float | None]
"""What tells the jobs of calls without options apart: method, URL, whether sync, `cache_ttl`."""

_new_job = Job.__new__
_dumps = jsonlib.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class CallContext:
    """What the HTTP layer keeps about one job."""

    __slots__ = ("extensions", "origin", "path", "sync", "target")

    def __init__(self, target: Target, extensions: Mapping[str, Any], *, sync: bool) -> None:
        self.target = target
        self.origin = target.origin
        self.path = target.path
        self.extensions = extensions
        self.sync = sync

    def at(self, target: Target) -> CallContext:
        """The context of a hop to another URL."""
        return CallContext(target, self.extensions, sync=self.sync)


def _context(target: Target, extensions: Mapping[str, Any], *, sync: bool) -> CallContext:
    """The context of a call; without extensions, the one that all calls to a URL share."""
    if extensions is not _NOTHING:
        return CallContext(target, extensions, sync=sync)
    shared: CallContext | None = target.contexts[sync]
    if shared is None:
        shared = target.contexts[sync] = CallContext(target, extensions, sync=sync)
    return shared


class Composer:
    """Builds the jobs of one client.

    Args:
        origins: resolves URLs and tells whose origin they are.
        own: headers for the origin of `base_url`; `neutral`: those for any other.
        timeouts: seconds of one attempt, unless the call says otherwise. `plan`: the same for its policies.

    Attributes:
        caches: whether calls use the cache that do not ask for it.
        uses: how the calls without options but a `cache_ttl` use the cache that were made before. Empty as soon as
            there are cookies.
        policies: of its calls.
        id_is_key: whether a caller who gives a `request_id` vouches that the server deduplicates by it.
    """

    id_is_key: bool = True

    def __init__(
        self,
        origins: Origins,
        *,
        own: list[tuple[bytes, bytes]],
        neutral: list[tuple[bytes, bytes]],
        ids: RequestIds,
        timeouts: dict[str, float | None],
        plan: Plan,
        deadline: float | None,
        cap: int | None,
        follow_redirects: bool,
        server_deduplicates: bool,
        cache: CacheConfig,
        jar: OriginJar,
        auth: httpx2.Auth | None = None,
        params: httpx2.QueryParams | None = None,
        deadline_header: str | None = None,
        circuit: Callable[[str, str], str | None] | None = None,
        lane: Callable[[str, str], str | None] | None = None,
    ) -> None:
        self.origins = origins
        self.ids = ids
        self._own = own
        self._neutral = neutral
        self._timeouts = timeouts
        self._longest = longest(timeouts)
        self._plan = plan
        self._deadline = FOREVER if deadline is None else deadline
        self._cap = cap
        self._follow = follow_redirects
        self._deduplicates = server_deduplicates
        self.policies = CallPolicies(plan, cache, jar, auth)
        self.caches = self.policies.caches
        self._jar = jar
        self._params = params or None
        self._deadline_header = deadline_header.encode("ascii") if deadline_header else None
        self._circuit = circuit
        self._lane = lane
        # Whether calls without options differ by nothing but their ids.
        self._plain = auth is None and circuit is None and lane is None and self._params is None
        self._templates: dict[_Plain, dict[str, Any]] = {}
        self.uses: dict[_Plain, KnownUse] = {}
        jar.on_filled = self._forget

    def job(  # noqa: C901, PLR0915  # one thing after the other
        self, method: str, url: str | httpx2.URL, options: Mapping[str, Any], *, stream: bool, sync: bool
    ) -> Job:
        """The job for one call.

        Raises:
            BadRequest: a header, body or method that cannot be sent.
            BadURL: a URL that cannot, or must not, be requested.
        """
        if method not in _METHODS:
            method = checked_method(method)
        target = self.origins.target(url)
        if options and not target.own and ON_CALL in options:
            given_here = options[ON_CALL]
            options = {name: value for name, value in options.items() if name not in _PRIVATE or name in given_here}
            options.update({name: given_here[name] for name in _PRIVATE if name in given_here})
        base = target.headers
        if base is None:
            base = target.headers = [(b"Host", target.host), *(self._own if target.own else self._neutral)]
        headers = base.copy()
        extensions: Mapping[str, Any] = _NOTHING
        body: Any = b""
        given: list[tuple[bytes, bytes]] | None = None
        if options:
            if options.get("headers"):
                given = given_headers(options["headers"])
                names = {name.lower() for name, _ in given}
                headers = [pair for pair in headers if pair[0].lower() not in names]
                headers += given
            extensions = options.get("extensions") or _NOTHING
        if (
            self._jar.filled
            or self._params is not None
            or (options and (not options.keys().isdisjoint(_ENCODED) or _is_stream(options.get("content"))))
        ):
            target, headers, body = self._encoded(method, target, headers, options, sync=sync)
        elif options:
            body = self._plain_body(headers, options)
        if given:
            check_framing(given, body)
        if not body and method in _KEYED_METHODS | {"PUT"} and body.__class__ is bytes:
            set_default(headers, b"Content-Length", b"0")
        route = target.routes.get(method)
        if route is None:
            route = target.routes[method] = f"{method} {target.path}"
        id_ = self._ids(method, headers, options)
        job = Job(
            method, target.url, headers, body, self._timeouts, self._plan, target.origin, route, id_[0],
            _context(target, extensions, sync=sync),
        )  # fmt: skip
        job.keyed = id_[1]
        job.idempotent = method in IDEMPOTENT
        job.longest = self._longest
        job.cap = self._cap
        job.follow = self._follow
        job.patience = self._deadline
        if body.__class__ is not bytes:
            job.replayable = body.replayable
        if self._deadline_header is not None:
            job.announce = self._announce
        if self._circuit is not None:
            job.circuit = self._circuit(method, target.path)
        if self._lane is not None:
            job.lane = self._lane(method, target.path)
        if stream:
            job.stream = True
            job.cap = None
        if options or self.policies.auth is not None:
            self.policies.apply(job, options)
        if method == "GET" and not stream and (self.caches or "cache_ttl" in options):
            job.cache = self.policies.cache_use(job, target, options, given)
        special = (job.auth, job.cache, job.circuit, job.lane, job.announce, job.plan.retry.retry_if)
        job.plain = not stream and all(one is None for one in special)
        if not stream and self._plain and not self._jar.filled and (not options or options.keys() == _TTL):
            self._keep_template((method, url, sync, options.get("cache_ttl")), job)
        return job

    def _keep_template(self, key: _Plain, job: Job) -> None:
        """Remembers a job without options but a `cache_ttl`: the next such job differs from it in its ids alone."""
        if len(self._templates) >= _MOST_TEMPLATES:
            self._forget()
        attributes = dict(job.__dict__)
        base = job.context.target.headers
        attributes["headers"] = [pair for pair in job.headers if pair[0] not in _PER_CALL or pair in base]
        self._templates[key] = attributes
        if job.cache is not None:
            self.uses[key] = (job.cache, job.key, partial(self._asked, *key))

    def _forget(self) -> None:
        """Has all jobs made anew: from now on there are cookies, or there are too many of them."""
        self._templates.clear()
        self.uses.clear()

    def known_job(
        self,
        method: str,
        url: str | httpx2.URL,
        sync: bool,  # noqa: FBT001  # hot
        ttl: float | None = None,
    ) -> Job | None:
        """The job for a call to a URL that was called before, without options but a `cache_ttl`.

        None: it has to be made by `job`.
        """
        try:
            template = self._templates.get((method, url, sync, ttl))
        except TypeError:  # unhashable, so no URL: `job` says so
            return None
        if template is None:
            return None
        job = _new_job(Job)
        job.__dict__ = template.copy()
        job.id = id_ = self.ids.next()
        encoded = id_.encode()
        job.headers = headers = [*template["headers"], (b"X-Request-ID", encoded)]
        if method in _KEYED_METHODS:
            headers.append((b"Idempotency-Key", encoded))
        if serving.get() is not None:
            _pass_on(headers)
        use = template["cache"]
        if use is not None:
            job.cache = CacheUse(
                use.key, use.path, Selector(headers), use.ttl, use.stale_while_revalidate, use.stale_if_error, use.tags
            )
        return job

    def _asked(self, method: str, url: str | httpx2.URL, sync: bool, ttl: float | None) -> Job:  # noqa: FBT001  # as above
        """As `known_job`; if there is none, by `job`."""
        job = self.known_job(method, url, sync, ttl)
        return job or self.job(method, url, _NOTHING if ttl is None else {"cache_ttl": ttl}, stream=False, sync=sync)

    # Parts of it

    def _ids(self, method: str, headers: list[tuple[bytes, bytes]], options: Mapping[str, Any]) -> tuple[str, bool]:
        """Adds the id headers. Returns the request id, and whether the caller vouches for the key."""
        keyed = self._deduplicates
        id_: str | None = None
        if options:
            id_ = options.get("request_id")
            keyed = options.get("server_deduplicates", keyed or (id_ is not None and self.id_is_key))
            if id_ is None:
                for name, value in headers:
                    if name.lower() == b"x-request-id":
                        id_ = value.decode("latin-1")
            else:
                headers[:] = [pair for pair in headers if pair[0].lower() != b"x-request-id"]
                headers.append((b"X-Request-ID", id_.encode("ascii")))
        if id_ is None:
            id_ = self.ids.next()
            headers.append((b"X-Request-ID", id_.encode("ascii")))
        if method in _KEYED_METHODS:
            key = options.get("idempotency_key") if options else None
            if isinstance(key, str):
                keyed = options.get("server_deduplicates", True)
                headers[:] = [pair for pair in headers if pair[0].lower() != b"idempotency-key"]
                headers.append((b"Idempotency-Key", key.encode("ascii")))
            elif any(name.lower() == b"idempotency-key" for name, _ in headers):
                keyed = options.get("server_deduplicates", True)
            elif key is not False:
                headers.append((b"Idempotency-Key", id_.encode("ascii")))
        _pass_on(headers)
        return id_, bool(keyed)

    def _plain_body(self, headers: list[tuple[bytes, bytes]], options: Mapping[str, Any]) -> bytes:
        """A body that needs nobody's help to be encoded: none, JSON, text or bytes."""
        value = options.get("json")
        if value is not None:
            try:
                body = _dumps(value).encode("utf-8")
            except (TypeError, ValueError, RecursionError) as error:
                raise BadRequest(f"json cannot be encoded: {error}", "json") from None
            set_default(headers, b"Content-Length", b"%d" % len(body))
            set_default(headers, b"Content-Type", b"application/json")
            return body
        content = options.get("content")
        if content is None:
            return b""
        try:
            body = content.encode("utf-8") if isinstance(content, str) else bytes(content)
        except UnicodeError:
            raise BadRequest("content cannot be encoded as UTF-8", "content") from None
        if body:
            set_default(headers, b"Content-Length", b"%d" % len(body))
        return body

    def _encoded(
        self, method: str, target: Target, headers: list[tuple[bytes, bytes]], options: Mapping[str, Any], *, sync: bool
    ) -> tuple[Target, list[tuple[bytes, bytes]], Any]:
        """Has httpx2 encode what is not plain: query parameters, cookies, forms, files, streams."""
        params = options.get("params")
        files, replayable = options.get("files"), True
        content = options.get("content")
        try:
            if isinstance(content, (bytearray, memoryview)):
                content = bytes(content)
            elif isinstance(content, (list, tuple)):
                content = b"".join(content)
            if self._params is not None and target.own:
                params = self._params.merge(params)
            if params is not None:
                target = self.origins.encoded(target.url.copy_merge_params(params))
            if files:
                files, replayable = rewindable_files(files)
            request = httpx2.Request(
                method,
                target.url,
                headers=headers,
                cookies=self._cookies(target, options.get("cookies")),
                content=content,
                data=options.get("data"),
                files=files,
                json=options.get("json"),
            )
            body: Any
            if files:
                body = MultipartBody(request.stream, replayable=replayable)
            elif content is not None:
                body = body_of(content, request, sync=sync)
            else:
                body = request.content
        except Exception as error:
            raise BadRequest(f"the request cannot be encoded: {type(error).__name__}: {error}") from None
        if BAD_VALUE.search(request.headers.get("cookie", "").encode("latin-1", "replace")):
            raise BadRequest("the cookies contain a control character or outer space", "cookies")
        return target, request.headers.raw, body

    def _cookies(self, target: Target, given: Any) -> httpx2.Cookies | None:
        """The cookies for a URL: those of the jar for the own origin alone, and what was given on the call."""
        cookies = httpx2.Cookies(self._jar) if target.own and self._jar.filled else httpx2.Cookies()
        if given is not None:
            merged = httpx2.Cookies(cookies)
            merged.update(given)
            return merged
        return cookies

    def _announce(self, job: Job, left: float) -> None:
        """Sends the seconds that are left on to the server, so that it need not work in vain."""
        name = self._deadline_header or b""
        job.headers = [pair for pair in job.headers if pair[0] != name]
        job.headers.append((name, b"%.3f" % max(left, 0.0)))


def _pass_on(headers: list[tuple[bytes, bytes]]) -> None:
    """Adds what travels on from the request that is being served, if one is."""
    current = serving.get()
    if current is not None:
        set_default(headers, b"X-Correlation-ID", current[0].encode("ascii"))
        if current[1] is not None:
            set_default(headers, b"traceparent", current[1].encode("ascii"))


def _is_stream(content: Any) -> bool:
    return content is not None and not isinstance(content, _FLAT)
