"""What importing the package loads, and what it must not depend on: when that happens."""

from __future__ import annotations

import subprocess
import sys
import textwrap

IMPORT = "from holdfast import ClientConfig, ResilientClient\n"


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout


def test_httpx2_and_the_machinery_come_with_the_first_client():
    loaded = run(
        f"""
        import sys
        {IMPORT}
        heavy = ["httpx2", "holdfast.http.assembly", "holdfast.core.flow", "holdfast.exceptions", "structlog"]
        print([name for name in heavy if name in sys.modules])
        with ResilientClient(ClientConfig(base_url="http://service.test")):
            print([name for name in heavy if name in sys.modules])
        """
    )
    first, then = loaded.splitlines()
    assert first == "[]"
    assert "httpx2" in then and "holdfast.core.flow" in then


def test_a_replaced_request_counts_though_the_first_client_is_made_under_it():
    text = run(
        f"""
        from unittest import mock
        import httpx2
        {IMPORT}
        config = ClientConfig(base_url="http://service.test", logging={{"level": "WARNING"}})
        sent = []

        def respond(request):
            sent.append(request)
            return httpx2.Response(200, text="sent")

        transport = httpx2.MockTransport(respond)
        answer = httpx2.Response(200, text="replaced")
        with mock.patch.object(httpx2.Client, "request", return_value=answer) as replaced:
            with ResilientClient(config, transport=transport) as client:
                print(client.get("/x").result().text, replaced.call_count, len(sent))
                stopped = replaced.call_count
        with ResilientClient(config, transport=httpx2.MockTransport(respond)) as client:
            print(client.get("/x").result().text, replaced.call_count - stopped, len(sent))
        with mock.patch.object(httpx2.Client, "request", autospec=True, side_effect=RuntimeError) as replaced:
            with ResilientClient(config, transport=httpx2.MockTransport(respond)) as client:
                try:
                    client.get("/x", retry=None).result()
                except Exception:
                    print("raised", replaced.call_count, len(sent))
        """
    )
    assert text.splitlines() == ["replaced 1 0", "sent 0 1", "raised 1 1"]
