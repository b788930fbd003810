// The form that starts a workflow.

import { AwayError, newKey, post, segment } from "./api.js";
import { h } from "../dom.js";
import { locate, mistake, place } from "./locate.js";
import { template } from "./template.js";

const drafts = new Map();
let forms = 0;

/** A form for one workflow. `node()` gives it the first time, and then what stands for it in a repaint. */
export class StartForm {
  #workflow;
  #view;
  #form;
  #given = false;
  #fields = {};
  #key;
  #sent;
  #sending = false;

  constructor(workflow, schema, view) {
    this.#workflow = workflow;
    this.#view = view;
    const draft = drafts.get(workflow.id) ?? {};
    const first = draft.input_data ?? JSON.stringify(template(schema ?? {}), null, 2);
    const number = ++forms;
    this.#key = `start-${number}`;
    const more = draft.context || draft.timeout;
    this.#form = h(
      "form",
      { key: this.#key, keep: true, novalidate: true, on: { submit: (event) => this.#submit(event), input: () => this.#changed() } },
      this.#area("input_data", "Input (JSON object)", first, Math.min(16, Math.max(4, first.split("\n").length + 1))),
      described(schema),
      h(
        "details",
        { open: Boolean(more) },
        h("summary", {}, "Context and timeout"),
        this.#area("context", "Context (JSON object, optional): travels with the execution", draft.context ?? "", 3),
        this.#field("timeout", "Timeout in seconds, for the whole execution (optional)", h("input", { inputmode: "decimal", autocomplete: "off", value: draft.timeout ?? "" })),
      ),
      h("div", { role: "alert", class: "trouble", id: `${this.#key}-trouble` }),
      h("p", {}, h("button", { type: "submit", class: "primary" }, "Start")),
    );
  }

  node() {
    if (this.#given) return h("form", { key: this.#key, keep: true });
    this.#given = true;
    return this.#form;
  }

  #area(name, label, value, rows) {
    return this.#field(name, label, h("textarea", { rows, spellcheck: "false", autocapitalize: "off", autocomplete: "off", value }));
  }

  #field(name, label, control) {
    const id = `${this.#key}-${name}`;
    control.id = id;
    const problem = h("div", { id: `${id}-problem`, class: "trouble" });
    this.#fields[name] = { control, problem };
    return h("div", { class: "field" }, h("label", { for: id }, label), control, problem);
  }

  #changed() {
    const value = (name) => this.#fields[name].control.value;
    drafts.set(this.#workflow.id, { input_data: value("input_data"), context: value("context"), timeout: value("timeout") });
    for (const [name, { control }] of Object.entries(this.#fields)) {
      // Who is mending a mistake sees it go; a new one is told when the form is sent.
      if (control.hasAttribute("aria-invalid") && this.#check(name) === undefined) this.#tell(name, []);
    }
  }

  /** What is wrong with a field, as far as that can be seen here: {text, from, to}. */
  #check(name) {
    const text = this.#fields[name].control.value;
    if (name === "timeout") {
      return text.trim() === "" || Number(text) > 0 ? undefined : { text: "A number of seconds, more than 0" };
    }
    if (text.trim() === "" && name === "context") return undefined;
    const wrong = mistake(text);
    if (wrong) return { text: `No JSON from here on: ${wrong.expected} is missing`, from: wrong.at, to: wrong.at + 1 };
    return text.trimStart().startsWith("{") ? undefined : { text: "It has to be a JSON object: { ... }" };
  }

  async #submit(event) {
    event.preventDefault();
    if (this.#sending) return;
    this.#trouble("");
    const wrong = Object.keys(this.#fields).filter((name) => {
      const problem = this.#check(name);
      this.#tell(name, problem ? [problem] : []);
      return problem;
    });
    if (wrong.length) {
      this.#fields[wrong[0]].control.focus();
      return;
    }
    const text = (name) => this.#fields[name].control.value.trim();
    // As text: what is written is what is sent, large numbers too.
    const parts = [`"input_data": ${text("input_data")}`];
    if (text("context")) parts.push(`"context": ${text("context")}`);
    if (text("timeout")) parts.push(`"timeout": ${Number(text("timeout"))}`);
    await this.#send(`{${parts.join(", ")}}`);
  }

  async #send(body) {
    // The same again, after an answer that was lost, starts nothing twice.
    if (this.#sent?.body !== body) this.#sent = { body, key: newKey() };
    this.#busy(true);
    try {
      const path = `/workflows/${segment(this.#workflow.id)}/execute`;
      const started = await post(path, body, { key: this.#sent.key, signal: this.#view.signal });
      this.#sent = undefined;
      location.hash = `#/executions/${segment(started.id)}`;
    } catch (error) {
      if (this.#view.signal.aborted) return;
      if (error instanceof AwayError) {
        this.#trouble(`${error.message}. Press Start again: it will not be started twice.`);
      } else {
        this.#sent = undefined;
        this.#refused(error);
      }
    } finally {
      this.#busy(false);
    }
  }

  #busy(sending) {
    this.#sending = sending;
    const button = this.#form.querySelector("button[type=submit]");
    if (sending) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
    button.textContent = sending ? "Starting…" : "Start";
  }

  /** Each problem of a refusal beside its field. */
  #refused(error) {
    const elsewhere = [];
    const found = new Map();
    for (const { loc = [], msg } of error.problems) {
      const [, name, ...path] = loc;
      if (!Object.hasOwn(this.#fields, name)) {
        elsewhere.push(msg);
        continue;
      }
      const text = this.#fields[name].control.value;
      const [from, to] = name === "timeout" ? [0, text.length] : locate(text, path);
      found.set(name, [...(found.get(name) ?? []), { where: path.join("."), text: msg, from, to }]);
    }
    for (const [name, problems] of found) this.#tell(name, problems);
    if (elsewhere.length || found.size === 0) this.#trouble(elsewhere.join("; ") || error.message);
    const [first] = found.keys();
    if (first) this.#fields[first].control.focus();
  }

  #trouble(text) {
    this.#form.querySelector(`#${this.#key}-trouble`).textContent = text;
  }

  #tell(name, problems) {
    const { control, problem } = this.#fields[name];
    problem.replaceChildren(...problems.map((one) => h("p", {}, this.#place(control, one), one.text)));
    if (problems.length) {
      control.setAttribute("aria-invalid", "true");
      control.setAttribute("aria-describedby", problem.id);
      control.closest("details")?.setAttribute("open", "");
    } else {
      control.removeAttribute("aria-invalid");
      control.removeAttribute("aria-describedby");
    }
  }

  /** A button that shows the place in the text. */
  #place(control, { where, from, to }) {
    if (from === undefined || control.nodeName !== "TEXTAREA") return null;
    const { line, column } = place(control.value, from);
    const show = () => {
      control.focus();
      control.setSelectionRange(from, to);
    };
    const at = `line ${line}, column ${column}`;
    return [h("button", { type: "button", class: "place", on: { click: show } }, where ? `${where} (${at})` : capitalised(at)), " "];
  }
}

const capitalised = (text) => text[0].toUpperCase() + text.slice(1);

/** What the first action says about its input. */
function described(schema) {
  const properties = Object.entries(Object(schema?.properties));
  if (properties.length === 0) return null;
  const required = new Set(schema.required ?? []);
  return h(
    "details",
    {},
    h("summary", {}, "What the first step takes"),
    h(
      "dl",
      { class: "properties" },
      properties.map(([name, one]) =>
        h(
          "div",
          {},
          h("dt", {}, h("code", {}, name), " ", h("span", { class: "soft" }, [kind(one), required.has(name) ? "required" : "optional"].filter(Boolean).join(", "))),
          one?.description && h("dd", {}, String(one.description)),
        ),
      ),
    ),
  );
}

function kind(schema) {
  if (Array.isArray(schema?.enum)) return `one of ${schema.enum.slice(0, 8).map((one) => JSON.stringify(one)).join(", ")}`;
  return [schema?.type].flat().filter(Boolean).join(" or ");
}
