// The server's API, as the rest of the page sees it.

const PREFIX = "/api";
const PATIENCE_MS = 45_000;

/** The server understood and said no. `problems` is [{loc, msg}] where it names places. */
export class ApiError extends Error {
  constructor(status, body) {
    const detail = body?.detail;
    const problems = Array.isArray(detail) ? detail : [];
    super(typeof detail === "string" ? detail : problems.map(({ msg }) => msg).join("; ") || `The server answered ${status}`);
    this.status = status;
    this.problems = problems;
  }
}

/** The server could not be asked now, and can be asked again. */
export class AwayError extends Error {}

export function get(path, signal) {
  return ask("GET", path, undefined, {}, signal);
}

/** `body` is JSON text already: numbers in it arrive as they were written. */
export function post(path, body, { key, signal } = {}) {
  return ask("POST", path, body, key ? { "Idempotency-Key": key } : {}, signal);
}

async function ask(method, path, body, headers, signal) {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  let answer;
  let text;
  try {
    answer = await fetch(PREFIX + path, {
      method,
      body,
      headers: { Accept: "application/json", ...(method === "POST" && { "Content-Type": "application/json" }), ...headers },
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
      cache: "no-store",
    });
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new AwayError("The server does not answer");
  }
  let parsed;
  try {
    parsed = parse(text);
  } catch {
    if (answer.ok) throw new AwayError("The server's answer cannot be read");
  }
  if (answer.ok) return parsed;
  if ([502, 503, 504].includes(answer.status)) {
    throw new AwayError(typeof parsed?.detail === "string" ? parsed.detail : `The server answered ${answer.status}`);
  }
  throw new ApiError(answer.status, parsed);
}

/** As JSON.parse, but an integer that a JavaScript number cannot hold stays as it is written, where browsers can do that. */
function parse(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, { source } = {}) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? JSON.rawJSON(source) : value,
  );
}

export const segment = encodeURIComponent;

/** A query string of what is given, with its question mark; empty values are left out. */
export function query(values) {
  const given = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** A key that is sent with a request and its repetitions, so that it is carried out once. */
export function newKey() {
  // randomUUID is there under https and localhost only.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
