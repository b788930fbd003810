// How states, times and amounts are written.

import { h } from "../dom.js";

const LOOKS = { PENDING: "idle", RUNNING: "busy", COMPLETED: "good", FAILED: "bad", CANCELLED: "warn" };
const OTHER_LOOKS = { ACTIVE: "good", INACTIVE: "idle", healthy: "good", unhealthy: "bad" };

export const STATES = Object.keys(LOOKS);

export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1).toLowerCase();

export function state(status, more = {}) {
  return h("span", { class: `state ${LOOKS[status] ?? OTHER_LOOKS[status] ?? "idle"}`, ...more }, capital(status));
}

export const ended = (status) => ["COMPLETED", "FAILED", "CANCELLED"].includes(status);

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const COUNT = new Intl.NumberFormat("en");

export const clock = (date) => TIME.format(date);
export const count = (number, noun) => `${COUNT.format(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A moment in the reader's own time; the day only if it is not today. */
export function moment(iso) {
  if (!iso) return "–";
  const date = new Date(iso);
  const today = date.toDateString() === new Date().toDateString();
  return h("time", { datetime: iso, title: iso }, today ? clock(date) : `${DAY.format(date)}, ${clock(date)}`);
}

/** How long something took, or has been taking: then it is counted on (see `tick`). */
export function lasted(from, to) {
  if (!from) return "–";
  if (to) return duration(new Date(to) - new Date(from));
  return h("span", { "data-since": from }, sofar(from));
}

function sofar(from) {
  const seconds = Math.max(0, Math.floor((Date.now() - new Date(from)) / 1000));
  return `${seconds ? duration(seconds * 1000) : "0 s"} so far`;
}

export function duration(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${Number.isInteger(seconds) ? seconds : seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

setInterval(function tick() {
  for (const node of document.querySelectorAll("[data-since]")) {
    const text = sofar(node.dataset.since);
    if (node.firstChild?.data !== text) node.firstChild.data = text;
  }
}, 1000);

export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const short = (id) => String(id).slice(0, 8);

/** Pairs of name and value. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}
