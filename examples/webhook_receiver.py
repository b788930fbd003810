"""A receiver of webhooks: registered with the service, told by it when an agent run has ended.

    python examples/webhook_receiver.py

It starts the servers by itself (`pip install 'holdfast[cli,servers]'`), and a web server of its own, whose one route is
`Webhooks.asgi()`: that checks signature and age, lets each event through once, and calls the handlers. In an app of
Starlette or FastAPI it would be mounted: ``app.mount("/webhooks", webhooks.asgi())``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket

import httpx2
import uvicorn

from holdfast.codegen import ClientConfig, WebhookEvent, create_production_client
from holdfast.codegen.webhooks import CodegenWebhooks
from servers import reference_servers

TOKEN = f"example-{os.getpid()}"
SECRET = secrets.token_urlsafe(32)


async def main(url: str) -> None:
    """Registers the receiver, creates a run, and waits until the receiver is told of its end."""
    webhooks = CodegenWebhooks(ClientConfig(webhook_secret=SECRET))
    told: asyncio.Future[WebhookEvent] = asyncio.get_running_loop().create_future()

    @webhooks.on("agent_run.completed", "agent_run.failed")
    async def ended(event: WebhookEvent) -> None:
        print(f"{event.event_type}: run {event.data['id']} is {event.data['status']}")
        if not told.done():
            told.set_result(event)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(webhooks.asgi(), log_config=None, lifespan="off", ws="none"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await register(url, f"http://127.0.0.1:{listener.getsockname()[1]}/")
            async with create_production_client(TOKEN, 123, base_url=url, log_level="ERROR") as client:
                run = await client.create_agent_run(prompt="Update the documentation")
                print(f"created run {run.id}")
            event = await asyncio.wait_for(told, 60)
            print(f"verified by {event.scheme}: {event.verified}; of that run: {event.data['id'] == run.id}")
        finally:
            server.should_exit = True
            await serving
    seen = webhooks.statistics()
    print(f"{seen.received} received, {seen.verified} verified, {seen.handled} handled")


async def register(url: str, receiver: str) -> None:
    """Has the reference server send its events there. The real service has a form for that in its settings."""
    async with httpx2.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"}) as admin:
        new = {"url": receiver, "events": ["agent_run.completed", "agent_run.failed"], "secret": SECRET}
        (await admin.post(f"{url}/webhooks", json=new)).raise_for_status()


if __name__ == "__main__":
    with reference_servers() as servers:
        asyncio.run(main(servers.codegen))
