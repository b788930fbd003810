"""The Codegen client, topic by topic: what it is for, what it does by itself, and what it tells.

    python examples/enhanced_client_usage.py

It starts the servers by itself (`pip install 'holdfast[cli,servers]'`), whose agents only pretend to work, and ends in
a few seconds. With the real service, the settings would come from the environment: CODEGEN_API_TOKEN, CODEGEN_ORG_ID.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from datetime import UTC, datetime

from holdfast.codegen import (
    AsyncCodegenClient,
    CodegenAPIError,
    ConfigPresets,
    NotFoundError,
    RateLimitError,
    ValidationError,
    WebhookError,
    WebhookEvent,
    create_production_client,
)
from holdfast.service.webhooks import sign_webhook
from servers import reference_servers

TOKEN = f"example-{os.getpid()}"  # limits are counted by token
ORGANIZATION = 123
SECRET = secrets.token_urlsafe(32)


def new_client(url: str) -> AsyncCodegenClient:
    """One for production, but for where it is, how often it looks, and that it is quiet."""
    return create_production_client(
        TOKEN, ORGANIZATION, base_url=url, agent_run_poll_interval=0.5, webhook_secret=SECRET, log_level="ERROR"
    )


async def basic_usage(client: AsyncCodegenClient) -> None:
    """A run, from its creation to its end."""
    user = await client.get_current_user()
    print(f"Hello, {user.github_username}!")
    run = await client.create_agent_run(prompt="Review the latest pull request", metadata={"priority": "high"})
    print(f"run {run.id} is {run.status}")
    run = await client.wait_for_agent_run_completion(run_id=run.id, timeout=60)
    print(f"run {run.id} {'succeeded' if run.succeeded else 'failed'}: {run.status}")


async def configuration(url: str) -> None:
    """A preset, with some of its settings replaced; others for a single call."""
    config = ConfigPresets.high_performance()
    config.api_token = TOKEN
    config.org_id = str(ORGANIZATION)
    config.base_url = url
    async with AsyncCodegenClient(config) as client:
        user = await client.get_current_user().with_options(deadline=5.0)
        print(f"{user.github_username}, within 5 s; {config.bulk_max_workers} workers; token {config.api_token}")


async def caching(client: AsyncCodegenClient) -> None:
    """An answer that is asked for again within ten minutes is not fetched again."""
    before = client.get_metrics_summary()["cache"]["hits"]
    await client.get_user(user_id=7)
    await client.get_user(user_id=7)
    print(f"{client.get_metrics_summary()['cache']['hits'] - before} answer from the cache")


async def bulk_operations(client: AsyncCodegenClient) -> None:
    """Many users, of whom one does not exist; several runs."""
    result = await client.bulk_get_users(user_ids=["1", "2", "3", "4", "99999"])
    print(f"{result.successful_items} users, {result.success_rate:.0f} %")
    for failure in result.errors:
        print(f"  {failure['item']}: {failure['error_type']}")
    configs = [{"prompt": f"Fix issue {number}", "metadata": {"issue": number}} for number in (1, 2, 3)]
    made = await client.bulk_create_agent_runs(run_configs=configs)
    print(f"{made.successful_items} runs created")


async def streaming(client: AsyncCodegenClient) -> None:
    """All users and all runs, a page at a time."""
    admins = [user.github_username async for user in client.get_users_stream(page_size=10) if user.is_admin]
    print(f"{len(admins)} of the users are admins")
    count = 0
    async for _ in client.get_all_agent_runs():
        count += 1
    print(f"at least 4 runs: {count >= 4}")


async def webhook_handling(client: AsyncCodegenClient) -> None:
    """An event that is signed with the secret; the same, changed on its way. `webhook_receiver.py` has a server."""
    webhooks = client.get_webhook_handler()

    @webhooks.on("agent_run.completed")
    async def completed(event: WebhookEvent) -> None:
        print(f"told that run {event.data['id']} is completed")

    told = {"event_type": "agent_run.completed", "timestamp": datetime.now(UTC).isoformat(), "data": {"id": 42}}
    payload = json.dumps(told).encode()
    signature = sign_webhook(payload, SECRET, scheme="hub")["X-Hub-Signature-256"]
    await client.process_webhook(payload, signature)
    try:
        await client.process_webhook(payload.replace(b"42", b"43"), signature)
    except WebhookError as error:
        print(f"refused for its {error.reason}")


async def error_handling(client: AsyncCodegenClient) -> None:
    """Each kind of error has its class; all are `CodegenAPIError`."""
    try:
        await client.create_agent_run(prompt="")
    except ValidationError as error:
        print(f"nothing sent: {dict(error.field_errors)}")
    try:
        await client.get_agent_run(run_id=99_999)
    except NotFoundError as error:
        print(f"no {error.resource_type} {error.resource_id}")
    try:
        await client.create_agent_run(prompt="Refactor")
    except RateLimitError as error:
        print(f"too many: again in {error.retry_after} s")
    except CodegenAPIError as error:
        # Nobody creates it a second time unasked: that would cost twice.
        print(f"failed, and there {'may be' if error.may_have_executed else 'is no'} run: {error.message}")


async def monitoring(client: AsyncCodegenClient) -> None:
    """How it is, what it has done, and the same for Prometheus."""
    health = await client.health_check()
    print(f"overall {health['overall_status']}: {', '.join(health['checks'])}")
    stats = client.get_metrics_summary()["monitoring"]["performance_stats"]
    print(f"{stats['failed_requests']} calls failed; p95 below 5 s: {stats['p95'] < 5000}")
    lines = client.export_metrics("prometheus").splitlines()
    print(f"{sum(not line.startswith('#') for line in lines)} samples, such as {lines[2]}")


async def performance(client: AsyncCodegenClient) -> None:
    """What many ask for at the same time is fetched once; what differs is fetched side by side."""
    began, sent = time.perf_counter(), client.resilient.metrics().total.attempts
    await asyncio.gather(*(client.get_user(user_id=20) for _ in range(50)))
    await asyncio.gather(*(client.get_user(user_id=number) for number in range(10, 20)))
    sent = client.resilient.metrics().total.attempts - sent
    print(f"60 users by {sent} requests, in less than 10 s: {time.perf_counter() - began < 10}")


async def main(url: str) -> None:
    """All nine topics."""
    async with new_client(url) as client:
        for title, topic in (
            ("Basic usage", basic_usage(client)),
            ("Advanced configuration", configuration(url)),
            ("Caching", caching(client)),
            ("Bulk operations", bulk_operations(client)),
            ("Streaming", streaming(client)),
            ("Webhook handling", webhook_handling(client)),
            ("Error handling", error_handling(client)),
            ("Monitoring and health", monitoring(client)),
            ("Performance", performance(client)),
        ):
            print(f"--- {title}")
            await topic


if __name__ == "__main__":
    with reference_servers() as servers:
        asyncio.run(main(servers.codegen))
