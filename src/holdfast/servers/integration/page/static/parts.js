// What several views have: steps as a graph, pages of a list, tables, code to copy.

import { query, segment } from "./api.js";
import { announce, h } from "../dom.js";
import { count, lasted, state } from "./words.js";

/** The steps from the first to the last, as `next` leads. */
export function inOrder(steps) {
  const byId = new Map(steps.map((step) => [step.id, step]));
  const reached = new Set(steps.map((step) => step.next));
  const ordered = [];
  for (let at = steps.find((step) => !reached.has(step.id)); at && ordered.length < steps.length; at = byId.get(at.next)) {
    ordered.push(at);
  }
  return ordered.length === steps.length ? ordered : steps;
}

/** Steps, one leading to the other. With `href` each is a link, and `selected` is where the reader is. */
export function graph(steps, { href, selected } = {}) {
  const items = inOrder(steps).map((step) => {
    const inside = [
      h("span", { class: "name" }, step.id),
      h("span", { class: "soft" }, `${step.service} · ${step.action}`),
      step.status &&
        h("span", { class: "foot" }, state(step.status), h("span", { class: "soft" }, step.started_at && lasted(step.started_at, step.ended_at))),
    ];
    const look = `box ${(step.status ?? "").toLowerCase()}`;
    const box = href
      ? h("a", { class: look, href: href(step), "aria-current": step.id === selected && "true" }, inside)
      : h("div", { class: look }, inside);
    return h("li", { key: step.id }, box);
  });
  return h("ol", { class: "graph", key: "graph" }, items);
}

/** Links to the pages before and after one. */
export function pager(list, section, noun, values) {
  if (list.total === 0) return null;
  const to = (page, text) => {
    const there = page >= 1 && page <= list.pages;
    const href = there && `#/${section}${query({ ...values, page: page > 1 ? page : "" })}`;
    return h("a", { key: text, class: "button", href, role: there ? null : "link", "aria-disabled": there ? null : "true" }, text);
  };
  const many = list.pages > 1;
  return h(
    "nav",
    { key: "pager", class: "pager", "aria-label": "Pages" },
    many && to(list.page - 1, "Previous"),
    h("span", {}, many ? `Page ${list.page} of ${list.pages}, ${count(list.total, noun)}` : count(list.total, noun)),
    many && to(list.page + 1, "Next"),
  );
}

export const pageOf = (view) => Math.max(1, Number.parseInt(view.route.query.get("page") ?? "1", 10) || 1);

/**
 * A table with one row per item, each of [key, cells]. The first cell names the row.
 *
 * The roles are those that the elements have anyway, but not in every browser where a narrow screen lays them out anew.
 */
export function table(caption, columns, rows) {
  return h(
    "div",
    { key: "table", class: "scroll" },
    h(
      "table",
      { role: "table" },
      h("caption", { class: "away" }, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((name) => h("th", { role: "columnheader", scope: "col" }, name)))),
      h(
        "tbody",
        { role: "rowgroup" },
        rows.map(([key, cells]) =>
          h("tr", { key, role: "row" }, cells.map((cell, index) => (index ? h("td", { role: "cell" }, cell) : h("th", { role: "rowheader", scope: "row" }, cell)))),
        ),
      ),
    ),
  );
}

/** Code with a button that copies it, where the browser lets pages do that. */
export function code(key, label, text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce("Copied");
    } catch {
      announce("The browser does not let this page copy");
    }
  };
  return h(
    "div",
    { key, class: "code" },
    h("pre", { role: "region", "aria-label": label, tabindex: "0" }, text),
    navigator.clipboard && h("button", { type: "button", on: { click: copy } }, "Copy", h("span", { class: "away" }, `: ${label}`)),
  );
}

export const link = (section, id, ...text) => h("a", { href: `#/${section}/${segment(id)}` }, text);
