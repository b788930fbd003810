// Services: the list, and one with its actions. Their health is asked for on demand, or again and again.

import { get, query, segment } from "./api.js";
import { announce, h } from "../dom.js";
import { json } from "./json.js";
import { code, link, pageOf, pager, table } from "./parts.js";
import { welcome } from "./welcome.js";
import { clock, count, duration, facts, moment, state } from "./words.js";

const PER_PAGE = 25;
const LIST_MS = 5000;
const REPEAT_SECONDS = 10;

/** What was found out about the health of services, and whether that goes on. It outlives the view. */
const known = new Map();
let repeats = false;

export async function services(view) {
  let list;
  const checks = new Checks(view, () => list.items, paint);
  for (;;) {
    list = await view.get(`/services${query({ page: pageOf(view), per_page: PER_PAGE })}`);
    if (list.total === 0) {
      view.paint("Services", await welcome(view, await view.get("/health")));
    } else {
      checks.start();
      paint();
    }
    await view.pause(LIST_MS);
  }

  function paint() {
    view.paint(
      "Services",
      checks.controls(),
      h(
        "section",
        { key: "list", "aria-label": "Services" },
        table(
          "Services, the newest first",
          ["Service", "Actions", "State", "Health"],
          list.items.map((item) => [
            item.id,
            [
              [link("services", item.id, item.name), h("span", { class: "soft line" }, item.endpoint)],
              count(item.actions.length, "action"),
              state(item.status),
              health(item.id),
            ],
          ]),
        ),
      ),
      pager(list, "services", "service", {}),
    );
  }
}

export async function service(view) {
  let shown;
  const checks = new Checks(view, () => [shown], paint);
  for (;;) {
    shown = await view.get(`/services/${segment(view.route.id)}`);
    checks.start();
    paint();
    await view.pause(LIST_MS);
  }

  function paint() {
    view.paint(
      shown.name,
      h(
        "section",
        { key: "overview", "aria-label": "State" },
        h("p", { class: "large" }, state(shown.status)),
        shown.description && h("p", {}, shown.description),
        facts([
          ["Endpoint", h("code", {}, shown.endpoint)],
          ["Repeated requests", shown.deduplicates ? "the service carries them out once" : "the service may carry them out twice"],
          ["Registered", moment(shown.created_at)],
          ["Changed", moment(shown.updated_at)],
          ["Service", h("code", {}, shown.id)],
        ]),
        Object.keys(shown.metadata ?? {}).length > 0 && json(`${shown.id} metadata`, "Metadata", shown.metadata, "", paint),
      ),
      h(
        "section",
        { key: "health", "aria-labelledby": "health" },
        h("h2", { id: "health" }, "Health"),
        checks.controls(),
        healthFacts(shown.id),
      ),
      h(
        "section",
        { key: "actions", "aria-labelledby": "actions" },
        h("h2", { id: "actions" }, count(shown.actions.length, "action")),
        shown.actions.map((action) => described(action)),
      ),
    );
  }
}

function described(action) {
  const open = (schema) => schema && Object.keys(schema).length > 0;
  const schema = (label, it) =>
    open(it)
      ? h("details", {}, h("summary", {}, label), code(label, `${label} of ${action.name}`, JSON.stringify(it, null, 2)))
      : h("p", { class: "soft" }, `${label}: any JSON object`);
  return h(
    "div",
    { key: action.name, class: "action" },
    h("h3", {}, action.name),
    action.description && h("p", {}, action.description),
    schema("Input", action.input_schema),
    schema("Output", action.output_schema),
  );
}

/** Asks after the health of the services that are shown. */
class Checks {
  #view;
  #shown;
  #paint;
  #started = false;
  #asking = false;

  constructor(view, shown, paint) {
    this.#view = view;
    this.#shown = shown;
    this.#paint = paint;
  }

  start() {
    if (this.#started) return;
    this.#started = true;
    this.#repeat().catch((error) => {
      if (!this.#view.signal.aborted) throw error;
    });
  }

  controls() {
    const repeat = (event) => {
      repeats = event.target.checked;
      if (repeats) this.#ask();
    };
    return h(
      "p",
      { key: "checks", class: "checks" },
      h("button", { type: "button", "aria-disabled": this.#asking && "true", on: { click: () => this.#ask({ told: true }) } }, "Check health"),
      h("label", {}, h("input", { type: "checkbox", checked: repeats, on: { change: repeat } }), ` every ${REPEAT_SECONDS} s`),
    );
  }

  async #repeat() {
    for (;;) {
      await this.#view.pause(REPEAT_SECONDS * 1000);
      if (repeats) await this.#ask();
    }
  }

  async #ask({ told = false } = {}) {
    if (this.#asking) return;
    this.#asking = true;
    this.#paint();
    await Promise.all(this.#shown().map((one) => this.#askOne(one)));
    this.#asking = false;
    this.#paint();
    if (!told) return;
    const healthy = this.#shown().filter(({ id }) => known.get(id)?.status === "healthy").length;
    announce(`${healthy} of ${count(this.#shown().length, "service")} healthy`);
  }

  async #askOne({ id, name }) {
    try {
      const found = await get(`/services/${segment(id)}/health`, this.#view.signal);
      const before = known.get(id)?.status;
      known.set(id, found);
      if (before && before !== found.status) announce(`${name} is ${found.status}`);
    } catch {
      // The server being away is said by the list, which keeps asking; a service that is gone leaves it.
      known.delete(id);
    }
  }
}

function health(id) {
  const found = known.get(id);
  if (!found) return h("span", { class: "soft" }, "not checked");
  const why = found.error ?? (found.status_code ? `status ${found.status_code}` : "");
  const took = typeof found.seconds === "number" ? duration(found.seconds * 1000) : "";
  return [
    state(found.status),
    h("span", { class: "soft line" }, [found.status === "healthy" ? took : why, `at ${clock(new Date(found.checked_at))}`].filter(Boolean).join(", ")),
  ];
}

function healthFacts(id) {
  const found = known.get(id);
  if (!found) return h("p", { key: "facts", class: "soft" }, "Not checked yet.");
  return h(
    "div",
    { key: "facts" },
    h("p", {}, state(found.status)),
    facts([
      ["Answer", found.status_code && `status ${found.status_code}`],
      ["Answered in", typeof found.seconds === "number" && duration(found.seconds * 1000)],
      ["Circuit breaker", found.circuit],
      ["Checked", moment(found.checked_at)],
      ["Error", found.error],
    ].filter(([, value]) => value)),
  );
}
