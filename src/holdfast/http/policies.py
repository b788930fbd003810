"""The policies of one call: those of its client, and what its options change in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx2

from holdfast.auth.provider import Authentication, AuthProvider, Carrier
from holdfast.core.deadline import longest
from holdfast.core.effects import FOREVER, Job
from holdfast.core.ports import Authenticator, CacheUse, Plan
from holdfast.http.auths import HttpxAuth, as_auth
from holdfast.http.cookies import OriginJar
from holdfast.http.given import BadRequest
from holdfast.http.identity import Selector, identity_of
from holdfast.http.options import seconds_of
from holdfast.http.origins import Target
from holdfast.parts import CacheConfig

__all__ = ["CallPolicies"]


class CallPolicies:
    """Gives jobs their policies.

    Args:
        plan: retries and waits, unless the call says otherwise.
        cache: the same for the cache.
        jar: whoever has cookies in it is somebody, and gets no answer that was stored for nobody.
        auth: for the own origin, unless the call has its own.

    Attributes:
        caches: whether calls use the cache that do not ask for it.
        carrier: what providers of credentials send their own requests by; set before the first call.
    """

    carrier: Carrier

    def __init__(self, plan: Plan, cache: CacheConfig, jar: OriginJar, auth: httpx2.Auth | None) -> None:
        self.caches = cache.default_ttl is not None or cache.from_response
        self.auth = auth
        self._plan = plan
        self._cache = cache
        self._jar = jar

    def apply(self, job: Job, options: Mapping[str, Any]) -> None:
        """The options that change the policies of the call."""
        auth = options.get("auth", self.auth if job.context.target.own else None)
        if auth is not None:
            job.auth = self._authenticator(job, auth)
        if "timeout" in options:
            job.timeouts = seconds_of(options["timeout"])
            job.longest = longest(job.timeouts)
        if "deadline" in options:
            job.patience = FOREVER if options["deadline"] is None else options["deadline"]
        if "follow_redirects" in options:
            job.follow = options["follow_redirects"]
        if "retry" in options:
            job.plan = self._plan_for(options["retry"])

    def _authenticator(self, job: Job, auth: Any) -> Authenticator:
        if isinstance(auth, AuthProvider):
            if not job.context.target.own:
                where = f"{job.key} is another: pass a header to that call, or make a client for it"
                raise BadRequest(f"the credentials of {auth!r} are for the origin of base_url, and {where}", "auth")
            return Authentication(auth, self.carrier)
        try:
            return HttpxAuth(as_auth(auth), job)
        except TypeError as error:
            raise BadRequest(str(error), "auth") from None

    def _plan_for(self, retry: Any) -> Plan:
        """The client's plan with another retry policy."""
        if retry is None:
            return Plan(replace(self._plan.retry, max_attempts=1), self._plan.slot_wait, self._plan.token_wait)
        return Plan(retry.policy(), self._plan.slot_wait, self._plan.token_wait)

    def cache_use(
        self, job: Job, target: Target, options: Mapping[str, Any], given: list[tuple[bytes, bytes]] | None
    ) -> CacheUse | None:
        settings = self._cache
        ttl = options.get("cache_ttl")
        if ttl is None:
            ttl = settings.default_ttl
            if ttl is None and not settings.from_response:
                return None
        if ttl is not None and ttl <= 0:
            return None
        identity = options.get("cache_identity")
        if identity is None:
            if options.get("cookies") or (self._jar.filled and target.own):
                return None
            identity = identity_of(given) if given is not None else ""
            if identity is None:
                return None
            if job.auth is not None:
                if job.auth.identity is None:
                    return None
                identity = f"{identity}+{job.auth.identity}"
        else:
            identity = f"={identity}"
        return CacheUse(
            (job.key, target.url.raw_path, identity),
            target.path,
            Selector(job.headers),
            ttl,
            settings.stale_while_revalidate,
            settings.stale_if_error,
            frozenset(options.get("tags", ())),
        )
