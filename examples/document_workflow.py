"""Two HTTP services become a workflow: text is taken out of documents, and its sentiment is found.

    python examples/document_workflow.py

It starts the servers by itself (`pip install 'holdfast[cli,servers]'`), and two small services in this process. Then:

- both are registered, a workflow is made of their actions, executed, followed while it runs, and its result is read;
- the same for a batch of documents, while one of the two fails every other time: it answers 503, or it does its work
  and hangs up before it has said so. It executes a repeated idempotency key once, and is registered as one that does
  (`deduplicates`). So every result arrives, and no document is worked on twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from holdfast.integration import ServiceIntegrationClient, ValidationError, get_request_id
from servers import reference_servers

DOCUMENTS = 20
HAPPY = {"good", "great", "love", "happy"}
UNHAPPY = {"bad", "awful", "hate", "sad"}

Work = Callable[[dict[str, Any]], dict[str, Any]]


def extract(given: dict[str, Any]) -> dict[str, Any]:
    """The text of a document, for which the end of its address has to do here."""
    return {"text": given["document_url"].rpartition("/")[2].replace("-", " ")}


def analyze(given: dict[str, Any]) -> dict[str, Any]:
    """The sentiment of a text: -1 to 1."""
    words = given["text"].split()
    happy, unhappy = sum(word in HAPPY for word in words), sum(word in UNHAPPY for word in words)
    score = (happy - unhappy) / max(happy + unhappy, 1)
    return {"score": score, "sentiment": "positive" if score > 0 else "negative" if score < 0 else "neutral"}


class SmallService:
    """An HTTP service with one action, which it does once for each idempotency key.

    Attributes:
        failing: whether it fails every other time that it is asked with one key.
        asked: how often it was asked. `done`: how often it has done its work, by input.
    """

    def __init__(self, action: str, work: Work) -> None:
        self.path = f"/{action}"
        self.work = work
        self.failing = False
        self.asked = 0
        self.done: Counter[str] = Counter()
        self._times: Counter[str] = Counter()
        self._answers: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def answer(self, key: str, body: bytes) -> tuple[int, bytes] | None:
        """Status and body; None to hang up without a word."""
        with self._lock:
            self.asked += 1
            self._times[key] += 1
            fails = self.failing and self._times[key] % 2 == 1
            if fails and len(self._times) % 2:  # before it has done anything, or after that
                return 503, b'{"detail": "too busy"}'
            if key not in self._answers:
                self._answers[key] = json.dumps(self.work(json.loads(body))).encode()
                self.done[body.decode()] += 1
            return None if fails else (200, self._answers[key])

    @contextmanager
    def running(self) -> Iterator[str]:
        """Where it is, for the time of the block."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, b'{"status": "healthy"}')

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path != service.path:
                    self._send(404, b'{"detail": "there is no such action"}')
                    return
                answer = service.answer(self.headers["Idempotency-Key"], body)
                if answer is None:
                    self.close_connection = True
                else:
                    self._send(*answer)

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()


def requires(**properties: str) -> dict[str, Any]:
    """The JSON Schema of an object that has these properties, of these types."""
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": [*properties],
    }


async def once(client: ServiceIntegrationClient, workflow_id: str) -> None:
    """Executes the workflow for one document, and shows how that goes."""
    document = {"document_url": "https://example.com/what-a-great-day"}
    execution = await client.start_workflow(workflow_id, document, context={"request_id": get_request_id()})
    async for event in client.follow(execution.id):
        print(f"  {event.kind:<20} {event.step or ''}".rstrip())
    result = await client.wait_for_execution(execution.id)
    print(f"  the sentiment is {result['sentiment']}, with a score of {result['score']}")


async def batch(client: ServiceIntegrationClient, workflow_id: str, extraction: SmallService) -> None:
    """Executes the workflow for many documents side by side, while a service fails half of the time."""
    extraction.failing = True
    asked, done = extraction.asked, extraction.done.total()
    words = ("great", "awful")
    urls = [f"https://example.com/{number}-{words[number % 2]}-day" for number in range(DOCUMENTS)]
    results = await asyncio.gather(*(client.execute_workflow(workflow_id, {"document_url": url}) for url in urls))
    right = sum(result["sentiment"] == ("positive", "negative")[number % 2] for number, result in enumerate(results))
    asked, done = extraction.asked - asked, extraction.done.total() - done
    print(f"  {len(results)} documents, {right} right results")
    print(f"  the extraction was asked {asked} times, and has failed {asked - DOCUMENTS} times")
    print(f"  {done} texts were extracted, {sum(times > 1 for times in extraction.done.values())} of them twice")


async def main(url: str) -> None:
    """Registers the services, makes the workflow, and executes it."""
    names = {"extraction": f"text-extraction-{os.getpid()}", "analysis": f"sentiment-analysis-{os.getpid()}"}
    extraction, analysis = SmallService("extract", extract), SmallService("analyze", analyze)
    with extraction.running() as extraction_url, analysis.running() as analysis_url:
        async with ServiceIntegrationClient(base_url=url) as client:
            steps: list[dict[str, Any]] = [
                {"id": "extract-text", "service": names["extraction"], "action": "extract", "next": "find-sentiment"},
                {"id": "find-sentiment", "service": names["analysis"], "action": "analyze", "next": None},
            ]
            try:
                await client.validate_workflow(steps)
            except ValidationError as error:
                print(f"Before anything is registered: {', '.join(error.validation_errors)} are wrong")

            extracts = {"input_schema": requires(document_url="string"), "output_schema": requires(text="string")}
            first = await client.register_service(
                name=names["extraction"],
                description="Takes the text out of documents",
                endpoint=extraction_url,
                actions=[{"name": "extract", **extracts}],
                deduplicates=True,
            )
            analyzes = {
                "input_schema": requires(text="string"),
                "output_schema": requires(sentiment="string", score="number"),
            }
            second = await client.register_service(
                name=names["analysis"],
                description="Finds the sentiment of a text",
                endpoint=analysis_url,
                actions=[{"name": "analyze", **analyzes}],
                deduplicates=True,
            )
            for service in (first, second):
                health = await client.get_service_health(service.id)
                print(f"{service.name.rpartition('-')[0]}: {health.status}")

            await client.validate_workflow(steps)
            workflow = await client.create_workflow(name="document-sentiment", steps=steps)
            print("One document:")
            await once(client, workflow.id)
            print("Many documents, while the extraction fails half of the time:")
            await batch(client, workflow.id, extraction)

            await client.delete_workflow(workflow.id)
            for service in (first, second):
                await client.deregister_service(service.id)


if __name__ == "__main__":
    with reference_servers() as servers:
        asyncio.run(main(servers.integration))
