// Workflows: the list, and one with its steps, the form that starts it and its latest executions.

import { query, segment } from "./api.js";
import { h } from "../dom.js";
import { rows } from "./executions.js";
import { json } from "./json.js";
import { graph, inOrder, link, pageOf, pager, table } from "./parts.js";
import { StartForm } from "./start.js";
import { welcome } from "./welcome.js";
import { count, ended, facts, moment, state } from "./words.js";

const PER_PAGE = 25;
const LIST_MS = 5000;
const BUSY_MS = 1500;

export async function workflows(view) {
  for (;;) {
    const list = await view.get(`/workflows${query({ page: pageOf(view), per_page: PER_PAGE })}`);
    if (list.total === 0) {
      view.paint("Workflows", await welcome(view, await view.get("/health")));
    } else {
      view.paint(
        "Workflows",
        h(
          "section",
          { key: "list", "aria-label": "Workflows" },
          table(
            "Workflows, the newest first",
            ["Workflow", "Steps", "State", "Changed"],
            list.items.map((item) => [
              item.id,
              [link("workflows", item.id, item.name), chain(item.steps), state(item.status), moment(item.updated_at)],
            ]),
          ),
        ),
        pager(list, "workflows", "workflow", {}),
      );
    }
    await view.pause(LIST_MS);
  }
}

const SHOWN = 4;

function chain(steps) {
  const names = inOrder(steps).map((step) => step.id);
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
  return names.slice(0, SHOWN).join(" → ") + more;
}

export async function workflow(view) {
  const path = `/workflows/${segment(view.route.id)}`;
  let form;
  for (;;) {
    const shown = await view.get(path);
    const latest = await view.get(`${path}/executions?per_page=10`);
    form ??= new StartForm(shown, await firstSchema(view, shown), view);
    const repaint = () => view.paint(shown.name, ...parts(view, shown, latest, form, repaint));
    repaint();
    await view.pause(latest.items.some((item) => !ended(item.status)) ? BUSY_MS : LIST_MS);
  }
}

function parts(view, shown, latest, form, repaint) {
  return [
    h(
      "section",
      { key: "overview", "aria-label": "State" },
      h("p", { class: "large" }, state(shown.status)),
      shown.description && h("p", {}, shown.description),
      facts([
        ["Created", moment(shown.created_at)],
        ["Changed", moment(shown.updated_at)],
        ["Workflow", h("code", {}, shown.id)],
      ]),
      Object.keys(shown.metadata ?? {}).length > 0 && json(`${shown.id} metadata`, "Metadata", shown.metadata, "", repaint),
    ),
    h("section", { key: "steps", "aria-labelledby": "steps" }, h("h2", { id: "steps" }, "Steps"), graph(shown.steps)),
    h(
      "section",
      { key: "start", "aria-labelledby": "start" },
      h("h2", { id: "start" }, "Start"),
      shown.status === "INACTIVE"
        ? h("p", { key: "inactive" }, "The workflow is inactive: make it active to start it.")
        : form.node(),
    ),
    h(
      "section",
      { key: "latest", "aria-labelledby": "latest" },
      h("h2", { id: "latest" }, "Latest executions"),
      latest.items.length ? rows("The latest executions of this workflow", latest.items) : h("p", { class: "soft" }, "None yet."),
      latest.total > latest.items.length &&
        h("p", {}, h("a", { href: `#/executions${query({ workflow: shown.id })}` }, `All ${count(latest.total, "execution")}`)),
    ),
  ];
}

/** The input schema of the first step's action; undefined if it cannot be found. */
async function firstSchema(view, { steps }) {
  const first = inOrder(steps)[0];
  for (let page = 1; first; page++) {
    const list = await view.get(`/services${query({ page, per_page: 100 })}`);
    const found = list.items.find((service) => service.name === first.service);
    if (found) return found.actions.find((action) => action.name === first.action)?.input_schema;
    if (page >= list.pages) return undefined;
  }
  return undefined;
}
