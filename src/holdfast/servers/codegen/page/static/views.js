// What the sections show of an activity, as elements.

import { h } from "../dom.js";

const LOOKS = { PENDING: "idle", ACTIVE: "busy", COMPLETE: "good", FAILED: "bad", CANCELLED: "warn", PAUSED: "warn" };
const SENT_LOOKS = { pending: "busy", delivered: "good", dead: "bad" };

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export function runs({ runs, runs_in_all: all }) {
  const rows = runs.map((run) =>
    row(run.id, `Run ${run.id}`,
      cell(state(run.status, LOOKS)),
      cell(run.result ?? run.summary ?? "–", run.github_pull_requests.map(({ id, title }) => soft(`Pull request ${id}: ${title}`))),
      cell(run.source_type.replaceAll("_", " ")),
      cell(moment(run.created_at)),
    ),
  );
  return [table("Agent runs", ["Run", "Status", "Outcome", "From", "Created"], rows), more(runs.length, all, "runs")];
}

export function limits({ limits, usage, relaxed }) {
  const used = new Map();
  for (const one of usage) used.set(one.name, [...(used.get(one.name) ?? []), one]);
  const rows = limits.flatMap((limit) =>
    (used.get(limit.name) ?? [null]).map((one) =>
      row(`${limit.name} ${one?.caller}`, h("code", {}, `${limit.method} ${limit.path.replace("/organizations/{org_id}", "/…")}`),
        cell(`${limit.quota} in ${limit.window} s`),
        cell(one ? h("code", {}, one.caller) : "–"),
        cell(one ? standing(limit, one) : "not used"),
        cell(one ? `in ${one.seconds} s` : "–"),
      ),
    ),
  );
  const said = relaxed ? "The limits are relaxed: a hundred times those of the real service. " : "";
  return [
    h("p", { class: "soft" }, `${said}Each token has each limit for itself, over a sliding window. Tokens are shown by a digest.`),
    table("Rate limits", ["Operation", "Limit", "Token", "Used", "More"], rows),
  ];
}

function standing(limit, one) {
  const text = `${one.used} of ${limit.quota}`;
  const bar = h("meter", { min: 0, max: limit.quota, high: limit.quota * 0.8, optimum: 0, value: one.used, "aria-label": text });
  return [bar, soft(one.remaining ? `${text}, ${one.remaining} left` : `${text}: refused with 429`)];
}

export function deliveries({ deliveries, webhooks, deliveries_by_status: counts }, { again }) {
  const urls = new Map(webhooks.map(({ id, url }) => [id, url]));
  const rows = deliveries.map((one) =>
    row(one.id, [one.event_type, soft(`Delivery ${one.id}`)],
      cell(urls.get(one.webhook_id) ?? `Webhook ${one.webhook_id}`),
      cell(state(one.status, SENT_LOOKS)),
      cell(`${one.attempts} ${one.attempts === 1 ? "attempt" : "attempts"}`, one.last_error && soft(one.last_error), due(one)),
      cell(button(one, again)),
    ),
  );
  const facts = Object.entries(counts).map(([name, count]) => h("div", { key: name }, h("dt", {}, capital(name)), h("dd", {}, count)));
  const all = counts.pending + counts.delivered + counts.dead;
  return [
    h("dl", { class: "facts" }, facts),
    webhooks.length || all ? null : h("p", { class: "soft" }, "No webhook is registered: POST one to ", h("code", {}, "/v1/webhooks"), "."),
    rows.length ? table("Webhook deliveries", ["Event", "To", "Status", "Attempts", "Again"], rows) : null,
    more(deliveries.length, all, "deliveries"),
  ];
}

function button(delivery, again) {
  // It stays while it can do nothing: whoever has just pressed it is still there.
  const idle = delivery.status === "pending";
  const on = { click: () => idle || again(delivery) };
  return h("button", { type: "button", "aria-label": `Deliver again: delivery ${delivery.id}`, "aria-disabled": idle && "true", on }, "Deliver again");
}

function due({ status, attempts, next_attempt_at: next }) {
  return status === "pending" && attempts ? soft("next at ", moment(next)) : null;
}

/** Roles are said again: where rows are laid out as blocks, on narrow screens, browsers forget them. */
function table(name, columns, rows) {
  const head = columns.map((column) => h("th", { scope: "col", role: "columnheader" }, column));
  // What scrolls can be reached by keyboard.
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": name },
    h("table", { role: "table", "aria-label": name },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)), h("tbody", { role: "rowgroup" }, rows)));
}

const row = (key, first, ...others) => h("tr", { key, role: "row" }, h("th", { scope: "row", role: "rowheader" }, first), others);
const cell = (...content) => h("td", { role: "cell" }, content);

function state(word, looks) {
  return h("span", { class: `state ${looks[word] ?? "idle"}` }, capital(word));
}

/** A moment in the reader's own time; the day only if it is not today. */
function moment(iso) {
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return h("time", { datetime: iso, title: iso }, today ? TIME.format(date) : `${DAY.format(date)}, ${TIME.format(date)}`);
}

const more = (shown, all, noun) => (all > shown ? h("p", { class: "soft" }, `The latest ${shown} of ${all} ${noun}.`) : null);
const soft = (...content) => h("span", { class: "soft" }, content);
const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase();
