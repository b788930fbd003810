// What a newcomer does first, with what is there already ticked off.

import { h } from "../dom.js";
import { code, link } from "./parts.js";

const TEST_SERVER = "Test server";
const EXAMPLE = { name: "messages", action: "msg" };

export async function welcome(view, health) {
  const { service, workflow } = await latest(view, health);
  const endpoint = await testServer();
  const uses = service?.actions.length ? { name: service.name, action: service.actions[0].name } : EXAMPLE;
  const step = (key, done, title, inside) =>
    h("li", { key }, h("h3", {}, title, done && h("span", { class: "state good" }, "Done")), inside);
  return h(
    "section",
    { key: "welcome", "aria-labelledby": "welcome" },
    h("h2", { id: "welcome" }, "Nothing has run yet"),
    h(
      "p",
      {},
      "A workflow calls actions of registered services, one after the other. Each call gets the workflow's input and what the calls before it answered.",
      !service && " Here the test server of this process is the service.",
    ),
    h(
      "ol",
      { class: "first-steps" },
      step("service", service, "Register a service", !service && code("code", "Command that registers a service", registering(endpoint))),
      step("workflow", workflow, "Make a workflow", !workflow && code("code", "Command that makes a workflow", making(uses))),
      step(
        "execute",
        false,
        "Start it",
        workflow
          ? h("p", {}, "Open ", link("workflows", workflow.id, workflow.name), " and press Start.")
          : h("p", {}, "Open it under ", h("a", { href: "#/workflows" }, "Workflows"), " and press Start. You see each step while it runs."),
      ),
    ),
    !workflow && h("details", { key: "python" }, h("summary", {}, "The same in Python"), code("code", "Program in Python", python(!service && endpoint, uses))),
  );
}

async function latest(view, health) {
  const one = async (kind) => (health[kind]?.total === 0 ? undefined : (await view.get(`/${kind}?per_page=1`)).items[0]);
  return { service: await one("services"), workflow: await one("workflows") };
}

let neighbours;

/** Where the test server of the same process is; the page about this server knows. */
async function testServer() {
  try {
    neighbours ??= (await (await fetch("/", { headers: { Accept: "application/json" } })).json()).neighbours;
  } catch {
    // Only an example: the port that it has by default will do.
  }
  return neighbours?.find(({ name }) => name === TEST_SERVER)?.url ?? `http://${location.hostname}:8000`;
}

const API = `${location.origin}/api`;

/** For a shell: a single quote ends the string, so it goes outside of it. */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

const curl = (path, body) =>
  `curl ${API}${path} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(JSON.stringify(body))}`;

const registering = (endpoint) =>
  curl("/services", { name: EXAMPLE.name, endpoint, deduplicates: true, actions: [{ name: EXAMPLE.action }] });

const making = ({ name, action }) =>
  curl("/workflows", {
    name: "First and second",
    steps: [
      { id: "first", service: name, action, next: "second" },
      { id: "second", service: name, action, next: null },
    ],
  });

// A JSON string is a Python string too.
const text = (value) => JSON.stringify(value);

const python = (endpoint, { name, action }) => `import asyncio

from holdfast.integration import ServiceIntegrationClient


async def main():
    async with ServiceIntegrationClient(${text(API)}) as client:
${
  endpoint
    ? `        await client.register_service(
            ${text(name)}, endpoint=${text(endpoint)}, actions=[{"name": ${text(action)}}], deduplicates=True
        )
`
    : ""
}        workflow = await client.create_workflow(
            "First and second",
            steps=[
                {"id": "first", "service": ${text(name)}, "action": ${text(action)}, "next": "second"},
                {"id": "second", "service": ${text(name)}, "action": ${text(action)}, "next": None},
            ],
        )
        print(await client.execute_workflow(workflow.id))


asyncio.run(main())
`;
