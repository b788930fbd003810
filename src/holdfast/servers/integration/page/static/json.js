// Shows JSON: pretty, cut where it is long, whole on demand, as a file.

import { h } from "../dom.js";
import { size } from "./words.js";

const CUT = 10_000;
const whole = new Set();

/**
 * @param key what it is, over repaints
 * @param label heading
 * @param value the data; undefined or null is said as `nothing`
 * @param repaint called when the reader wants to see all
 */
export function json(key, label, value, nothing, repaint) {
  const id = `json-${label.replaceAll(" ", "-")}`;
  const heading = h("h3", { id }, label);
  if (value === undefined || value === null) return h("div", { key, class: "json" }, heading, h("p", { class: "soft" }, nothing));
  const text = JSON.stringify(value, null, 2);
  const cut = text.length > CUT && !whole.has(key);
  const tools = [
    text.length > CUT &&
      h(
        "button",
        {
          type: "button",
          key: "all",
          "aria-expanded": cut ? "false" : "true",
          on: { click: () => (cut ? whole.add(key) : whole.delete(key), repaint()) },
        },
        cut ? `Show all (${size(text.length)})` : "Show less",
        h("span", { class: "away" }, ` of the ${label.toLowerCase()}`),
      ),
    h(
      "button",
      { type: "button", key: "file", on: { click: () => download(text, `${key}.json`) } },
      "Download",
      h("span", { class: "away" }, ` the ${label.toLowerCase()}`),
    ),
  ];
  return h(
    "div",
    { key, class: "json" },
    h("div", { class: "bar" }, heading, h("span", { class: "tools" }, tools)),
    h(
      "pre",
      { role: "region", "aria-labelledby": id, tabindex: "0" },
      cut ? `${text.slice(0, CUT)}\n…` : text,
    ),
    cut && h("p", { class: "soft" }, `The first ${size(CUT)} of ${size(text.length)} are shown.`),
  );
}

function download(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  h("a", { href: url, download: name.replaceAll(/[^\w.-]+/g, "-") }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
