// Keeps asking while the server is away, and says so once, calmly.

import { AwayError } from "./api.js";
import { announce } from "../dom.js";
import { clock } from "./words.js";

const LONGEST_MS = 10_000;

const bar = document.getElementById("connection");
const text = document.getElementById("connection-text");
const now = document.getElementById("connection-now");
let lastAnswer = new Date();

/** What `task` gives. As long as the server is away it is tried again, at growing intervals; other errors are thrown. */
export async function attempt(task, signal) {
  for (let wait = 500; ; wait = Math.min(wait * 2, LONGEST_MS)) {
    try {
      const result = await task();
      if (!signal.aborted) back();
      return result;
    } catch (error) {
      if (!(error instanceof AwayError) || signal.aborted) throw error;
      away(error.message);
    }
    await pause(wait, signal, true);
  }
}

/** Waits; in a page that nobody sees until it is seen. Throws when the view is left. */
export function pause(milliseconds, signal, hurry = false) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      document.removeEventListener("visibilitychange", seen);
      now.removeEventListener("click", go);
      removeEventListener("online", go);
    };
    const go = () => (end(), resolve());
    const stop = () => (end(), reject(signal.reason));
    const seen = () => document.hidden || go();
    const timer = setTimeout(() => document.hidden || go(), milliseconds);
    document.addEventListener("visibilitychange", seen);
    signal.addEventListener("abort", stop);
    if (hurry) {
      now.addEventListener("click", go);
      addEventListener("online", go);
    }
    if (signal.aborted) stop();
  });
}

function away(reason) {
  const said = `${reason}. The page shows what it knew at ${clock(lastAnswer)}, and keeps trying.`;
  if (bar.hidden) bar.hidden = false;
  if (text.textContent !== said) text.textContent = said;
}

function back() {
  lastAnswer = new Date();
  if (bar.hidden) return;
  const focused = bar.contains(document.activeElement);
  bar.hidden = true;
  text.textContent = "";
  announce("The server answers again");
  if (focused) document.querySelector("main h1").focus({ preventScroll: true });
}
