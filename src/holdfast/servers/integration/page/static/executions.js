// The list of executions.

import { query, segment } from "./api.js";
import { h } from "../dom.js";
import { pageOf, pager, table } from "./parts.js";
import { welcome } from "./welcome.js";
import { STATES, capital, ended, lasted, moment, short, state } from "./words.js";

const PER_PAGE = 25;
const BUSY_MS = 1500;
const IDLE_MS = 4000;

export async function executions(view) {
  const chosen = view.route.query.get("status");
  const status = STATES.includes(chosen) ? chosen : "";
  const workflow = view.route.query.get("workflow") ?? "";
  const names = new Names(view);
  for (;;) {
    const asked = query({ status, workflow_id: workflow, page: pageOf(view), per_page: PER_PAGE });
    const [list, health] = [await view.get(`/executions${asked}`), await view.get("/health")];
    await names.learn([...list.items.map((item) => item.workflow_id), ...(workflow ? [workflow] : [])]);
    if (list.total === 0 && !status && !workflow) {
      view.paint("Executions", await welcome(view, health));
    } else {
      view.paint(
        "Executions",
        filters(health, names, status, workflow),
        list.items.length ? section(list, names) : nothing(list),
        pager(list, "executions", "execution", { status, workflow }),
      );
    }
    await view.pause(list.items.some((item) => !ended(item.status)) ? BUSY_MS : IDLE_MS);
  }
}

/** Names of workflows, each asked for once. */
class Names {
  #known = new Map();
  #view;

  constructor(view) {
    this.#view = view;
  }

  async learn(ids) {
    if (this.#known.size === 0) {
      for (const { id, name } of (await this.#view.get("/workflows?per_page=100")).items) this.#known.set(id, name);
    }
    for (const id of new Set(ids)) {
      if (!this.#known.has(id)) this.#known.set(id, await nameOf(this.#view, id));
    }
  }

  of(id) {
    return this.#known.get(id) ?? "deleted workflow";
  }

  /** [id, text] of all that are known; the same name twice has an id beside it. */
  choices() {
    const all = [...this.#known].filter(([, name]) => name !== undefined);
    const often = (name) => all.filter(([, other]) => other === name).length > 1;
    return all.map(([id, name]) => [id, often(name) ? `${name} (${short(id)})` : name]);
  }
}

export async function nameOf(view, id) {
  try {
    return (await view.get(`/workflows/${segment(id)}`)).name;
  } catch (error) {
    if (error.status === 404) return undefined;
    throw error;
  }
}

function filters(health, names, status, workflow) {
  const counts = health.executions ?? {};
  const total = Object.values(counts).reduce((sum, number) => sum + number, 0);
  const states = ["", ...STATES].map((one) => {
    const number = one ? counts[one] ?? 0 : total;
    return h(
      "a",
      { key: one || "ALL", href: `#/executions${query({ status: one, workflow })}`, "aria-current": one === status && "true" },
      one ? capital(one) : "All",
      // The server counts over all workflows.
      !workflow && h("span", { class: "count" }, ` ${number.toLocaleString("en")}`),
    );
  });
  const choose = (event) => {
    location.hash = `#/executions${query({ status, workflow: event.target.value })}`;
  };
  const options = [["", "All workflows"], ...names.choices()];
  if (workflow && !options.some(([id]) => id === workflow)) options.push([workflow, names.of(workflow)]);
  return h(
    "div",
    { key: "filters", class: "filters" },
    h("nav", { "aria-label": "By state", class: "chips" }, states),
    h(
      "label",
      {},
      "Workflow ",
      h(
        "select",
        { key: "workflow", value: workflow, on: { change: choose } },
        options.map(([id, text]) => h("option", { key: id, value: id }, text)),
      ),
    ),
  );
}

function section(list, names) {
  return h("section", { key: "list", "aria-label": "Executions" }, rows("Executions, the newest first", list.items, names));
}

export function rows(caption, items, names) {
  return table(
    caption,
    ["Execution", "State", "Started", "Duration"],
    items.map((item) => [
      item.id,
      [
        h(
          "a",
          { href: `#/executions/${segment(item.id)}` },
          names ? [names.of(item.workflow_id), " ", h("code", { class: "soft" }, short(item.id))] : h("code", {}, short(item.id)),
        ),
        [state(item.status), item.run > 1 && h("span", { class: "soft" }, ` run ${item.run}`)],
        moment(item.started_at ?? item.created_at),
        item.status === "PENDING" ? "–" : lasted(item.started_at, item.ended_at),
      ],
    ]),
  );
}

function nothing(list) {
  const beyond = list.page > 1;
  return h(
    "section",
    { key: "nothing" },
    h("p", {}, beyond ? "There are fewer pages now. " : "No execution is like this. ", h("a", { href: "#/executions" }, "Show all")),
  );
}
