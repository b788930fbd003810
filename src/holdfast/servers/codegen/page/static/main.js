// Asks the server every second what goes on, and puts what changed into the page.

import { activity, redeliver, TokenError, useToken } from "./api.js";
import { announce, patchChildren } from "../dom.js";
import { deliveries, limits, runs } from "./views.js";

const EVERY_MS = 1000;

const live = document.getElementById("live");
const form = document.getElementById("token");
const field = document.getElementById("token-text");
const trouble = document.getElementById("trouble");

const known = { runs: new Map(), deliveries: new Map() };
let waiting;

async function refresh() {
  clearTimeout(waiting);
  if (!document.hidden) {
    try {
      show(await activity());
      say("");
      form.hidden = true;
    } catch (error) {
      if (error instanceof TokenError) wantToken(error.message);
      else say(`The server cannot be asked: ${error.message}. The page shows what it knew, and keeps trying.`);
    }
  }
  clearTimeout(waiting);
  waiting = setTimeout(refresh, EVERY_MS);
}

function show(seen) {
  put("runs-list", runs(seen));
  put("limits-list", limits(seen));
  put("deliveries-list", deliveries(seen, { again }));
  live.hidden = false;
  tell("runs", seen.runs, ({ id, status }) => `Run ${id} is ${status.toLowerCase()}`);
  tell("deliveries", seen.deliveries, ({ id, status }) => `Delivery ${id} is ${status}`);
}

function put(id, children) {
  patchChildren(document.getElementById(id), children.filter(Boolean));
}

/** Says what has changed since the last time, but not what was there at the first. */
function tell(kind, items, words) {
  const before = known[kind];
  known[kind] = new Map(items.map((item) => [item.id, item.status]));
  if (!before.size) return;
  for (const item of items) {
    if (before.get(item.id) !== item.status) announce(words(item));
  }
}

async function again({ id }) {
  try {
    await redeliver(id);
    announce(`Delivery ${id} is on its way again`);
  } catch (error) {
    say(`Delivery ${id} could not be sent again: ${error.message}`);
    return;
  }
  await refresh();
}

function wantToken(message) {
  say(message);
  if (!form.hidden) return;
  form.hidden = false;
  field.focus();
}

function say(text) {
  if (trouble.textContent !== text) trouble.textContent = text;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(field.value.trim());
  refresh();
});
document.addEventListener("visibilitychange", refresh);
refresh();
