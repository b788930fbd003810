// One execution: kept up to date by its events, which the server sends as they happen.

import { AwayError, get, post, query, segment } from "./api.js";
import { attempt } from "./connection.js";
import { announce, h } from "../dom.js";
import { nameOf } from "./executions.js";
import { json } from "./json.js";
import { graph, inOrder } from "./parts.js";
import { capital, count, ended, facts, lasted, moment, state } from "./words.js";

const WAIT_SECONDS = 5;
const LOOK_AGAIN_MS = 4000;

export function execution(view) {
  return new Watch(view).run();
}

class Watch {
  #view;
  #path;
  #shown;
  #name;
  #events = [];
  #trouble = "";
  #doing = false;

  constructor(view) {
    this.#view = view;
    this.#path = `/executions/${segment(view.route.id)}`;
    view.changed = () => this.#paint();
  }

  async run() {
    await this.#newEvents(0);
    await this.#refresh();
    for (;;) {
      const over = ended(this.#shown.status);
      // One that has ended may be resumed by somebody else.
      if (over) await this.#view.pause(LOOK_AGAIN_MS);
      const fresh = await this.#newEvents(over ? 0 : WAIT_SECONDS);
      fresh.filter(worthSaying).forEach((event) => announce(sentence(event)));
      // Between events a step's attempts are counted.
      if (fresh.length || !over) await this.#refresh();
    }
  }

  async #newEvents(wait) {
    const fresh = [];
    for (;;) {
      const after = this.#events.at(-1)?.number ?? 0;
      const page = await this.#view.get(`${this.#path}/events${query({ after, wait: fresh.length ? 0 : wait, limit: 1000 })}`);
      // Another request may have brought them meanwhile.
      const unseen = page.events.filter((event) => event.number > (this.#events.at(-1)?.number ?? 0));
      this.#events.push(...unseen);
      fresh.push(...unseen);
      if (page.events.length < 1000) return fresh;
    }
  }

  async #refresh() {
    this.#shown = await this.#view.get(this.#path);
    this.#name ??= (await nameOf(this.#view, this.#shown.workflow_id)) ?? "deleted workflow";
    this.#paint();
  }

  async #act(verb, done) {
    if (this.#doing) return;
    this.#doing = true;
    this.#trouble = "";
    this.#paint();
    try {
      this.#shown = await post(`${this.#path}/${verb}`, "{}", { signal: this.#view.signal });
      announce(done);
      this.#doing = false;
      this.#paint();
      document.getElementById("execution-state")?.focus({ preventScroll: true });
    } catch (error) {
      if (this.#view.signal.aborted) return;
      this.#trouble = error instanceof AwayError ? `${error.message}. Whether it was done will show here; try again if not.` : error.message;
      this.#doing = false;
      this.#shown = await attempt(() => get(this.#path, this.#view.signal), this.#view.signal);
      this.#paint();
    }
  }

  #paint() {
    const shown = this.#shown;
    if (!shown) return;
    const selected = this.#selected(shown);
    this.#view.paint(
      this.#name,
      this.#overview(shown),
      h(
        "section",
        { key: "steps", "aria-labelledby": "steps" },
        h("h2", { id: "steps" }, "Steps"),
        graph(shown.steps, { href: (step) => this.#link(step), selected: selected?.id }),
      ),
      selected && this.#step(selected),
      h(
        "section",
        { key: "data", "aria-labelledby": "data" },
        h("h2", { id: "data" }, "Whole execution"),
        h(
          "div",
          { class: "halves" },
          this.#json("input", "Given input", shown.input_data, "None."),
          this.#json("result", "Result", shown.result, ended(shown.status) ? "None." : "Not yet."),
        ),
        shown.context && this.#json("context", "Context", shown.context, ""),
      ),
      this.#history(),
    );
  }

  #link(step) {
    return `#/executions/${segment(this.#view.route.id)}/steps/${segment(step.id)}`;
  }

  /** The step that the reader chose, else the one where something happens or happened last. */
  #selected({ steps }) {
    const ordered = inOrder(steps);
    return (
      ordered.find((step) => step.id === this.#view.route.step) ??
      ordered.find((step) => ["FAILED", "RUNNING", "CANCELLED"].includes(step.status)) ??
      ordered.findLast((step) => step.status === "COMPLETED") ??
      ordered[0]
    );
  }

  #overview(shown) {
    const over = ended(shown.status);
    const resumable = ["FAILED", "CANCELLED"].includes(shown.status);
    const act = (verb, text, done) =>
      h("button", { type: "button", key: verb, "aria-disabled": this.#doing && "true", on: { click: () => this.#act(verb, done) } }, text);
    return h(
      "section",
      { key: "overview", "aria-label": "State" },
      h(
        "div",
        { class: "bar" },
        h("p", { class: "large", id: "execution-state", tabindex: "-1" }, state(shown.status)),
        h(
          "div",
          { class: "tools" },
          !over && act("cancel", "Cancel", "Cancelled"),
          resumable && act("resume", "Resume", "Resumed"),
          h("a", { class: "button", href: `#/workflows/${segment(shown.workflow_id)}` }, "Start another"),
        ),
      ),
      h("p", { key: "trouble", role: "alert", class: "trouble" }, this.#trouble),
      shown.error && failure(shown),
      facts([
        ["Started", moment(shown.started_at ?? shown.created_at)],
        ["Duration", shown.status === "PENDING" ? "waits for its turn" : lasted(shown.started_at, shown.ended_at)],
        ["Steps", `${shown.steps.filter((step) => step.status === "COMPLETED").length} of ${shown.steps.length} completed`],
        ["Run", shown.run > 1 && String(shown.run)],
        ["Timeout", shown.timeout && `${shown.timeout} s`],
        ["Execution", h("code", {}, shown.id)],
        ["Request", shown.request_id && h("code", {}, shown.request_id)],
      ].filter(([, value]) => value)),
    );
  }

  #step(step) {
    return h(
      "section",
      { key: `step-${step.id}`, "aria-labelledby": "step" },
      h("div", { class: "bar" }, h("h2", { id: "step" }, "Step ", step.id), state(step.status)),
      step.error && h("p", { class: "note bad" }, step.error.message ?? step.error),
      facts([
        ["Service", step.service],
        ["Action", step.action],
        ["Attempts", String(step.attempts ?? 0)],
        ["Started", moment(step.started_at)],
        ["Duration", lasted(step.started_at, step.ended_at)],
        ["Timeout", step.timeout && `${step.timeout} s`],
      ].filter(([, value]) => value)),
      h(
        "div",
        { class: "halves" },
        this.#json(`${step.id} input`, "Input", step.input, "Not called yet."),
        this.#json(`${step.id} output`, "Output", step.output, ended(step.status) ? "None." : "Not yet."),
      ),
    );
  }

  #json(key, label, value, nothing) {
    return json(`${this.#view.route.id} ${key}`, label, value, nothing, () => this.#paint());
  }

  #history() {
    const items = this.#events.map((event) =>
      h("li", { key: event.number }, moment(event.at), " ", sentence(event), event.message && h("span", { class: "soft" }, ` ${event.message}`)),
    );
    return h(
      "section",
      { key: "history", "aria-labelledby": "history" },
      h(
        "details",
        {},
        h("summary", {}, h("h2", { id: "history" }, "What happened"), h("span", { class: "soft" }, ` ${count(items.length, "event")}`)),
        h("ol", { class: "events" }, items),
      ),
    );
  }
}

function failure({ error, status }) {
  const where = error.step ? [h("strong", {}, error.step), ": "] : [];
  const resume = status === "FAILED" ? " Resume goes on with this step; what is completed is not repeated." : "";
  const executed = {
    true: "The service may have executed the action all the same: its answer did not arrive.",
    false: "The service has not executed the action.",
  }[error.may_have_executed];
  return h(
    "div",
    { key: "failure", class: "note bad" },
    h("p", {}, where, error.message, error.status && !error.message.includes(error.status) && ` (status ${error.status})`),
    h("p", { class: "soft" }, executed, resume),
  );
}

const worthSaying = ({ kind }) => !["execution.created", "execution.started", "step.started", "execution.cancelled"].includes(kind);

function sentence({ kind, step }) {
  const [what, happened] = kind.split(".");
  return what === "step" ? `Step ${step} ${happened}` : `${capital(what)} ${happened}`;
}
