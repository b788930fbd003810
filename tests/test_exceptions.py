"""The exception tree, and every combination that narrowing allows."""

from __future__ import annotations

import concurrent.futures
import threading
import traceback
from types import MappingProxyType

import httpx2
import pytest

import holdfast.exceptions as tree
from holdfast.exceptions import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    CircuitOpenError,
    ClientClosedError,
    ConflictError,
    DeadlineExceededError,
    HoldfastError,
    InvalidRequestError,
    MaxRetriesExceededError,
    MyAPIError,
    NotFoundError,
    PoolTimeoutError,
    RateLimitError,
    ResponseError,
    ServerError,
    ServerTimeoutError,
    ServiceUnavailableError,
    TooManyRedirectsError,
    WebhookError,
    narrow,
)
from tests.support.errors import (
    CORE,
    HTTPX,
    NARROWABLE,
    PUBLIC,
    PetBusyError,
    PetError,
    PetStatusError,
    TransportOfOursError,
    again,
    make,
    request_with_secrets,
)


def test_the_tree_is_the_one_drawn_in_the_docstring():
    drawn: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    picture = (tree.__doc__ or "").split("text\n\n", 1)[1].split("\n\n")[0]
    for line in picture.splitlines():
        name, depth = line.split()[0], len(line) - len(line.lstrip())
        while above and above[-1][0] >= depth:
            above.pop()
        drawn[name] = above[-1][1] if above else None
        above.append((depth, name))
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ if cls is not HoldfastError else None for cls in CORE}
    assert set(drawn) | {"MyAPIError", "narrow"} == set(tree.__all__)


def test_the_places_of_every_class():
    assert MyAPIError is HoldfastError
    connection = {
        APITimeoutError,
        DeadlineExceededError,
        ServerTimeoutError,
        ServiceUnavailableError,
        ServerError,
        CircuitOpenError,
    }
    status = {AuthenticationError, NotFoundError, InvalidRequestError, ConflictError, RateLimitError}
    neither = {
        PoolTimeoutError,
        MaxRetriesExceededError,
        ResponseError,
        TooManyRedirectsError,
        ClientClosedError,
        WebhookError,
    }
    assert {cls for cls in CORE if issubclass(cls, APIConnectionError)} == connection | {APIConnectionError}
    assert {cls for cls in CORE if issubclass(cls, APIStatusError)} == status | {APIStatusError}
    assert set(CORE) == connection | status | neither | {HoldfastError, APIConnectionError, APIStatusError}
    assert {cls for cls in CORE if TimeoutError in cls.__mro__} == {APITimeoutError, DeadlineExceededError}
    assert {cls for cls in CORE if RuntimeError in cls.__mro__} == {ClientClosedError}
    assert issubclass(DeadlineExceededError, APITimeoutError)
    assert not any(issubclass(cls, httpx2.HTTPError) for cls in CORE)


@pytest.mark.parametrize("cls", CORE)
def test_every_class_has_the_common_attributes(cls):
    response = httpx2.Response(503, request=httpx2.Request("GET", "https://h/p"))
    error = cls(
        "it failed",
        request_id="id-1",
        attempts=3,
        may_have_executed=True,
        endpoint="GET /p",
        status_code=503,
        response=response,
        retry_after=1.5,
    )
    assert str(error) == error.message == "it failed"
    assert error.args == ("it failed",)
    assert repr(error) == f"{cls.__name__}('it failed')"
    assert (error.request_id, error.attempts, error.may_have_executed) == ("id-1", 3, True)
    assert (error.endpoint, error.status_code, error.retry_after) == ("GET /p", 503, 1.5)
    assert error.response is response
    assert not hasattr(error, "request")


@pytest.mark.parametrize("cls", CORE)
def test_every_class_needs_but_a_message(cls):
    error = cls("it failed")
    assert (error.request_id, error.attempts, error.may_have_executed) == (None, 0, False)
    assert (error.endpoint, error.status_code, error.response, error.retry_after) == (None, None, None, None)
    with pytest.raises(TypeError, match="positional"):
        cls("it failed", "id-1")


def test_the_status_is_that_of_the_response_unless_given():
    response = httpx2.Response(502)
    assert ServiceUnavailableError("x", response=response).status_code == 502
    assert ServiceUnavailableError("x", response=response, status_code=503).status_code == 503


@pytest.mark.parametrize(
    ("cls", "name", "default", "value"),
    [
        (ServiceUnavailableError, "service_name", None, "pets"),
        (NotFoundError, "resource_type", None, "pet"),
        (NotFoundError, "resource_id", None, "7"),
        (InvalidRequestError, "field_errors", {}, {"name": ["too long"]}),
        (InvalidRequestError, "validation_errors", (), [{"loc": ["name"], "msg": "too long"}]),
        (DeadlineExceededError, "last_error", None, None),
        (MaxRetriesExceededError, "last_error", None, None),
        (PetBusyError, "queue", None, 4),
    ],
)
def test_details_belong_to_their_class(cls, name, default, value):
    assert getattr(cls("x"), name) == default
    error = cls("x", **{name: value})
    assert getattr(error, name) == value
    assert getattr(again(error), name) == value
    with pytest.raises(TypeError, match=name):
        WebhookError("x", **{name: value})


@pytest.mark.parametrize("name", ["nonsense", "add_note", "args", "errno", "_parts", "__dict__", "_request"])
def test_what_is_no_detail_is_refused(name):
    with pytest.raises(TypeError, match=name):
        APITimeoutError("x", **{name: 1})  # type: ignore[arg-type]


def test_the_defaults_of_details_cannot_be_changed_for_others():
    assert isinstance(InvalidRequestError.field_errors, MappingProxyType)
    assert isinstance(InvalidRequestError.validation_errors, tuple)


def test_equality_is_identity():
    one, other = NotFoundError("x"), NotFoundError("x")
    assert one == one
    assert one != other
    assert one != again(one)
    assert len({one, other}) == 2


def test_a_timeout_is_an_os_error_without_any_of_its_fields():
    error = APITimeoutError("it took too long")
    assert isinstance(error, OSError)
    assert error.errno is None
    assert error.strerror is None
    assert error.filename is None
    assert str(error) == "it took too long"
    assert again(error).args == ("it took too long",)
    with pytest.raises(TimeoutError, match="too long"):
        raise narrow(PetBusyError, DeadlineExceededError, httpx2.ReadTimeout)("too long")


@pytest.mark.parametrize("public", PUBLIC, ids=lambda cls: cls.__name__)
def test_every_combination(public):
    made = 0
    for core in NARROWABLE:
        for httpx_class in (None, *HTTPX):
            cls = narrow(public, core, httpx_class)
            error = make(cls, request_id="id-1", attempts=2, endpoint="GET /pets")
            error.add_note("seen")
            for kind in filter(None, (public, core, httpx_class)):
                assert isinstance(error, kind), (core, httpx_class)
            assert (cls.__name__, cls.__qualname__, cls.__module__) == (
                public.__name__,
                public.__qualname__,
                public.__module__,
            )
            assert narrow(public, core, httpx_class) is cls
            assert str(error) == "it failed"
            assert repr(error) == f"{public.__name__}('it failed')"
            assert hasattr(error, "request") is (httpx_class is not None)
            assert isinstance(error, TimeoutError) is (
                issubclass(public, TimeoutError) or issubclass(core, TimeoutError)
            )
            loaded = again(error)
            assert type(loaded) is cls
            assert (str(loaded), loaded.args, loaded.request_id, loaded.attempts) == (
                "it failed",
                error.args,
                "id-1",
                2,
            )
            assert loaded.__notes__ == ["seen"]
            assert hasattr(loaded, "request") is (httpx_class is not None)
            if httpx_class is not None:
                assert loaded.request.url == error.request.url
            made += 1
    assert made == len(NARROWABLE) * (len(HTTPX) + 1) > 500


def test_the_public_class_is_used_itself_where_it_is_enough():
    assert narrow(RateLimitError, RateLimitError, None) is RateLimitError
    assert narrow(RateLimitError, HoldfastError, None) is RateLimitError
    assert narrow(PetStatusError, APIStatusError) is PetStatusError


def test_a_more_general_public_class_keeps_its_name():
    cls = narrow(APIConnectionError, ServerError)
    assert cls is not ServerError
    assert issubclass(cls, ServerError)
    assert cls.__name__ == "APIConnectionError"
    assert type(again(cls("x"))) is cls


def test_an_error_is_caught_by_each_of_its_names():
    for caught in (PetBusyError, PetError, RateLimitError, APIStatusError, httpx2.HTTPStatusError, httpx2.HTTPError):
        with pytest.raises(caught) as info:
            raise make(narrow(PetBusyError, RateLimitError, httpx2.HTTPStatusError), queue=3)
        assert info.value.queue == 3  # type: ignore[attr-defined]


def test_a_traceback_shows_the_public_name():
    error = make(narrow(PetBusyError, RateLimitError, httpx2.HTTPStatusError))
    assert traceback.format_exception_only(error)[-1].endswith("PetBusyError: it failed\n")


def test_narrowed_classes_can_be_narrowed_further():
    core = narrow(RateLimitError, RateLimitError, httpx2.HTTPStatusError)
    cls = narrow(PetBusyError, core)
    assert cls.__name__ == "PetBusyError"
    assert {RateLimitError, httpx2.HTTPStatusError} < set(cls.__mro__)
    assert narrow(cls, cls, None) is cls
    error = again(make(cls))
    assert type(error) is cls
    wider = narrow(cls, ServerError, narrow(PetError, ServerError, httpx2.ReadTimeout))
    assert all(issubclass(wider, kind) for kind in (httpx2.ReadTimeout, ServerError, RateLimitError))
    assert type(again(make(wider))) is wider


class SubclassOfNarrowed(narrow(PetError, ServerError, httpx2.ReadError)):  # type: ignore[misc]
    """What a user may do with a narrowed class."""


def test_a_subclass_of_a_narrowed_class_is_a_class_of_its_own():
    error = SubclassOfNarrowed("x", request=request_with_secrets())
    loaded = again(error)
    assert type(loaded) is SubclassOfNarrowed
    assert loaded.request.headers["authorization"] == "[redacted]"
    assert narrow(SubclassOfNarrowed, ServerError, None) is SubclassOfNarrowed
    assert issubclass(narrow(SubclassOfNarrowed, RateLimitError, None), SubclassOfNarrowed)


def test_of_foreign_exceptions_the_nearest_httpx2_base_is_taken():
    cls = narrow(PetBusyError, APIConnectionError, TransportOfOursError)
    assert cls is narrow(PetBusyError, APIConnectionError, httpx2.ConnectError)
    assert narrow(PetBusyError, APIConnectionError, OSError) is narrow(PetBusyError, APIConnectionError)


def test_retries_used_up_are_never_narrowed():
    for public, core in (
        (MaxRetriesExceededError, MaxRetriesExceededError),
        (MaxRetriesExceededError, ServerError),
        (PetError, MaxRetriesExceededError),
    ):
        with pytest.raises(TypeError, match="never narrowed"):
            narrow(public, core, httpx2.ReadTimeout)


def test_only_errors_of_ours_are_narrowed():
    with pytest.raises(TypeError, match="ValueError"):
        narrow(ValueError, ServerError, None)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="ReadTimeout"):
        narrow(PetError, httpx2.ReadTimeout, None)  # type: ignore[arg-type]


def test_an_http_status_error_needs_a_response():
    with pytest.raises(TypeError, match="response"):
        narrow(PetError, RateLimitError, httpx2.HTTPStatusError)("x")


def test_threads_get_the_same_class():
    class FreshError(HoldfastError):
        pass

    start = threading.Barrier(8)

    def one(_: int) -> type[HoldfastError]:
        start.wait()
        return narrow(FreshError, RateLimitError, httpx2.HTTPStatusError)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(8)))) == 1
