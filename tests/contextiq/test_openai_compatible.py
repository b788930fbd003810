"""The client for OpenAI's interface and the engines on it, against a server on the loopback interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast import (
    AuthenticationError,
    InvalidRequestError,
    RateLimitError,
    ResponseError,
    RetryConfig,
    ServerError,
    ServiceUnavailableError,
)
from holdfast.contextiq import (
    ChatExtractionEngine,
    Event,
    Fact,
    GenerationRequest,
    MemoryGenerationProcessor,
    ModelOutputError,
    OpenAICompatibleClient,
    OpenAIEmbeddingService,
    OpenAISettings,
    WorkStoppedError,
)
from holdfast.testing import FaultyServer, Step

pytestmark = pytest.mark.loopback

KEY = "sk-very-secret"
CHAT, EMBEDDINGS = "POST /v1/chat/completions", "POST /v1/embeddings"


@pytest.fixture(scope="module")
def running() -> Iterator[FaultyServer]:
    with FaultyServer() as server:
        yield server


@pytest.fixture
def server(running: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> FaultyServer:
    running.reset()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{running.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_RETRY_DELAY", "0.001")
    return running


def said(content: Any, **choice: Any) -> Step:
    """A chat completion."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    return Step(json={"id": "c1", "model": "m", "choices": [{"message": {"content": text}, **choice}]})


def vectors(*data: tuple[int, list[Any]]) -> Step:
    """Embeddings with their indexes."""
    return Step(json={"model": "e", "data": [{"index": index, "embedding": vector} for index, vector in data]})


def events(*texts: str) -> list[Event]:
    return [
        Event(id=f"e{number}", session_id="s", event_type="message", data={"role": "user", "content": text})
        for number, text in enumerate(texts, start=1)
    ]


def extract(*texts: str, **options: Any) -> Any:
    async def run() -> Any:
        async with OpenAICompatibleClient() as client:
            return await ChatExtractionEngine(client, **options).extract(events(*texts))

    return asyncio.run(run())


def embed(*texts: str, **options: Any) -> Any:
    async def run() -> Any:
        async with OpenAICompatibleClient() as client:
            return await OpenAIEmbeddingService(client, **options).embed(texts)

    return asyncio.run(run())


def body(server: FaultyServer, number: int = -1) -> Any:
    return json.loads(server.requests[number].content)


# The client


def test_what_is_sent(server):
    server.route(CHAT, said({"facts": []}))
    server.route(EMBEDDINGS, vectors((0, [1.0])))
    extract("I like tea")
    assert body(server)["model"] == "gpt-4o-mini" and body(server)["response_format"] == {"type": "json_object"}
    assert body(server)["temperature"] == 0.0 and "max_tokens" not in body(server)
    system, user = body(server)["messages"]
    assert "JSON" in system["content"] and 'call the person "User"' in system["content"]
    assert json.loads(user["content"]) == [{"number": 1, "role": "user", "text": "I like tea"}]
    embed("tea", dimensions=1)
    assert body(server) == {"model": "text-embedding-3-small", "input": ["tea"], "dimensions": 1}
    assert [one.headers["authorization"] for one in server.requests] == [f"Bearer {KEY}"] * 2


def test_the_environment_names_the_models_and_a_key_is_not_needed(server, monkeypatch):
    monkeypatch.setenv("OPENAI_CHAT_MODEL", "llama")
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    server.route(CHAT, said({"facts": []}))
    extract("hello", temperature=None)
    assert body(server)["model"] == "llama" and "temperature" not in body(server)
    assert "authorization" not in server.requests[0].headers


def test_the_key_is_nowhere_to_be_seen(server, caplog):
    caplog.set_level("DEBUG")
    server.route(CHAT, Step(401, json={"error": {"message": "Incorrect API key provided"}}))
    client = OpenAICompatibleClient()
    with pytest.raises(AuthenticationError) as caught:
        client.create_chat_completion([{"role": "user", "content": "hello"}]).result()
    assert caught.value.response is not None
    shown = [repr(client), repr(client.settings), str(client.settings.model_dump()), str(caught.value), caplog.text]
    shown += [repr(vars(caught.value)), str(caught.value.response.request.headers.raw)]
    assert not any(KEY in text for text in shown)
    client.close().result()


def test_a_429_is_waited_out_as_long_as_it_says(server):
    server.route(EMBEDDINGS, [Step(429, json={}, headers={"Retry-After": "0"}), vectors((0, [1.0]))])
    assert embed("tea") == [[1.0]] and len(server.requests) == 2
    server.requests.clear()
    server.route(CHAT, [Step(429, json={}, headers={"Retry-After": "86400"}), said({"facts": []})])
    with pytest.raises(RateLimitError) as caught:
        extract("I like tea")
    assert caught.value.retry_after == 86400 and len(server.requests) == 1


@pytest.mark.parametrize(("status", "error", "chats"), [(500, ServerError, 1), (503, ServiceUnavailableError, 3)])
def test_a_chat_is_not_paid_for_twice(server, status, error, chats):
    server.route(CHAT, Step(status, json={}))
    server.route(EMBEDDINGS, Step(status, json={}))
    with pytest.raises(error):
        extract("I like tea")
    with pytest.raises(error):
        embed("tea")
    paths = [one.url.path for one in server.requests]
    assert (paths.count("/v1/chat/completions"), paths.count("/v1/embeddings")) == (chats, 3)


@pytest.mark.parametrize(
    ("retry", "step", "chats"),
    [
        (RetryConfig(max_attempts=4), 500, 1),
        (None, 503, 1),
        (RetryConfig(max_attempts=2, min_wait_seconds=0.001), 503, 2),
    ],
)
def test_a_view_says_how_often_a_chat_is_asked_again_but_not_what_for(server, retry, step, chats):
    server.route(CHAT, Step(step, json={}))
    with OpenAICompatibleClient() as client, pytest.raises((ServerError, ServiceUnavailableError)):
        client.with_options(retry=retry).create_chat_completion([{"role": "user", "content": "hi"}]).result()
    assert len(server.requests) == chats


def test_a_lost_answer_is_asked_for_again_only_where_it_is_free(server):
    server.route(CHAT, said({"facts": []}))
    server.route(EMBEDDINGS, vectors((0, [1.0])))
    server.misbehave("reset", count=1)
    assert embed("tea") == [[1.0]]
    server.misbehave("reset", count=1)
    with pytest.raises(ServiceUnavailableError) as caught:
        extract("I like tea")
    assert caught.value.may_have_executed and caught.value.service_name == "the model server"


@pytest.mark.parametrize(
    ("messages", "field"),
    [([], "messages"), ([{"role": "oracle", "content": "x"}], "role"), ([{"role": "user"}], "content")],
)
def test_wrong_messages_are_named_before_anything_is_sent(server, messages, field):
    client = OpenAICompatibleClient()
    with pytest.raises(InvalidRequestError) as caught:
        client.create_chat_completion(messages).result()
    assert list(caught.value.field_errors) == [field] and not server.requests
    client.close().result()


def test_an_empty_text_is_refused_before_anything_is_sent(server):
    with pytest.raises(InvalidRequestError, match=r"input\.1"):
        embed("tea", "")
    assert not server.requests


# Facts


def test_facts_are_read_with_their_sources(server):
    found = [
        {"fact": "User likes tea", "topic": "taste", "confidence": 0.9, "importance": 0.4, "message": 2},
        {"fact": "User uses vim", "message": 7},
    ]
    server.route(CHAT, said({"facts": found}))
    assert extract("hello", "I like tea") == [
        Fact(text="User likes tea", topic="taste", confidence=0.9, importance=0.4, source="e2"),
        Fact(text="User uses vim"),
    ]


def test_a_fence_around_the_json_does_no_harm(server):
    server.route(CHAT, said('```json\n{"facts": [{"fact": "User uses vim"}]}\n```'))
    assert extract("I use vim") == [Fact(text="User uses vim")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (said("I think that the user likes tea."), "Invalid JSON"),
        (said('{"facts": [{"fact": "User lik', finish_reason="length"), "cut off"),
        (said({"answers": []}), "facts: Field required"),
        (said({"facts": ["User likes tea"]}), "facts.0: Input should be an object"),
        (said(None), "it said nothing"),
        (
            Step(json={"choices": [{"message": {"content": None, "refusal": "I must not"}}]}),
            "it refused: I must not",
        ),
    ],
    ids=["prose", "cut off", "other key", "no objects", "nothing", "refusal"],
)
def test_answers_that_are_not_what_was_asked_for(server, answer, message):
    server.route(CHAT, answer)
    with pytest.raises(ModelOutputError, match="no facts from the model") as caught:
        extract("I like tea")
    assert message in str(caught.value) and isinstance(caught.value, ResponseError)
    assert caught.value.request_id and caught.value.request_id in str(caught.value) and len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (Step(content=b"<html>", headers={"Content-Type": "text/html"}), "not JSON"),
        (Step(json={"choices": []}), "choices"),
        (Step(json={"choices": [{"finish_reason": "stop"}]}), "choices.0.message"),
        (Step(json={"error": "overloaded"}), "choices"),
    ],
)
def test_a_chat_completion_with_something_missing_names_it(server, answer, field):
    server.route(CHAT, answer)
    with pytest.raises(ResponseError, match=field):
        extract("I like tea")
    assert len(server.requests) == 1


def test_long_conversations_are_sent_in_parts(server):
    server.route(CHAT, said({"facts": [{"fact": "User talks", "message": 1}]}))
    found = extract("a" * 60, "b" * 60, "c" * 500, max_characters=130)
    sent = [json.loads(json.loads(one.content)["messages"][1]["content"]) for one in server.requests]
    assert [[len(one["text"]) for one in part] for part in sent] == [[60, 60], [130]]
    assert [fact.source for fact in found] == ["e1", "e3"]
    assert extract() == [] and len(server.requests) == 2


# Embeddings


def test_embeddings_come_back_in_the_order_of_the_texts(server):
    server.route(EMBEDDINGS, [vectors((1, [2.0]), (0, [1.0])), vectors((0, [3.0]))])
    assert embed("one", "two", "three", batch_size=2) == [[1.0], [2.0], [3.0]]
    assert [json.loads(one.content)["input"] for one in server.requests] == [["one", "two"], ["three"]]
    assert embed() == [] and len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (vectors((0, [1.0])), "1 embeddings for 2 texts"),
        (vectors((0, [1.0]), (0, [1.0])), "indexes that are not theirs"),
        (vectors((1, [1.0]), (2, [1.0])), "indexes that are not theirs"),
        (vectors((0, [1.0]), (1, [1.0, 2.0])), "2 dimensions, where 1 were expected"),
    ],
)
def test_embeddings_that_do_not_belong_to_the_texts(server, answer, message):
    server.route(EMBEDDINGS, answer)
    with pytest.raises(ModelOutputError, match=message):
        embed("one", "two")


@pytest.mark.parametrize(
    ("answer", "field"),
    [
        (Step(json={"data": [{"embedding": [1.0]}]}), r"data\.0\.index"),
        (vectors((0, [])), r"data\.0\.embedding"),
        (vectors((0, ["x"])), r"data\.0\.embedding\.0"),
        (Step(json={"object": "list"}), "data"),
    ],
)
def test_embeddings_with_something_wrong_name_it(server, answer, field):
    server.route(EMBEDDINGS, answer)
    with pytest.raises(ResponseError, match=field):
        embed("one")


def test_dimensions_do_not_change_from_call_to_call(server):
    server.route(EMBEDDINGS, [vectors((0, [1.0])), vectors((0, [1.0, 2.0]))])
    with pytest.raises(ModelOutputError, match="2 dimensions, where 1 were expected"):
        embed("one", "two", batch_size=1)
    server.route(EMBEDDINGS, vectors((0, [1.0])))
    with pytest.raises(ModelOutputError, match="1 dimensions, where 3 were expected"):
        embed("one", dimensions=3)


@pytest.mark.parametrize(
    "make",
    [
        lambda client: ChatExtractionEngine(client, max_characters=0),
        lambda client: OpenAIEmbeddingService(client, batch_size=0),
    ],
)
def test_wrong_settings_are_named(server, make):
    with pytest.raises(ValueError, match=r"(max_characters|batch_size) must be at least 1, not 0"):
        make(OpenAICompatibleClient())


# With the worker


async def process(services: Any, session_id: str) -> Any:
    async with OpenAICompatibleClient(OpenAISettings()) as client:
        worker = MemoryGenerationProcessor(
            ChatExtractionEngine(client),
            OpenAIEmbeddingService(client),
            None,
            services.sessions,
            services.memories,
            page_size=1,
        )
        return await worker.process_request(GenerationRequest(session_id=session_id, user_id="u1"))


def test_a_worker_reports_what_a_model_got_wrong_and_stores_the_rest(server, services):
    found = [{"fact": "User likes tea", "message": 1}, {"fact": "User uses vim", "confidence": 95}, {"topic": "x"}]
    server.route(CHAT, [said({"facts": found}), said("no JSON")])
    server.route(EMBEDDINGS, vectors((0, [0.6, 0.8])))
    session_id = services.conversation("I like tea", "I use vim")

    result = services.run(process(services, session_id))
    assert services.facts() == ["User likes tea"] and services.stored()[0].embedding == [0.6, 0.8]
    assert [(one.stage, type(one.error).__name__) for one in result.failed] == [
        ("extract", "ValidationError"),
        ("extract", "ValidationError"),
        ("extract", "ModelOutputError"),
    ]


@pytest.mark.parametrize("path", [CHAT, EMBEDDINGS])
def test_a_worker_stops_where_the_model_server_is_down(server, services, path):
    found = said({"facts": [{"fact": "User likes tea"}]})
    server.route(CHAT, [found, Step(503, json={})] if path == CHAT else found)
    server.route(EMBEDDINGS, vectors((0, [0.6, 0.8])) if path == CHAT else Step(503, json={}))
    session_id = services.conversation("I like tea", "I use vim", "I live in Rome")
    with pytest.raises(ServiceUnavailableError) as caught:
        services.run(process(services, session_id))
    assert isinstance(caught.value, WorkStoppedError) and caught.value.service_name == "the model server"
    assert caught.value.result.events == (2 if path == CHAT else 1)
    assert services.facts() == (["User likes tea"] if path == CHAT else [])
