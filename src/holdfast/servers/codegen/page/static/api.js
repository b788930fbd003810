// The part of the server's API that the page uses, with the token that it was given.

const PATIENCE_MS = 10_000;
const KEPT = "holdfast-codegen-token";

/** In development any token will do. */
let token = sessionStorage.getItem(KEPT) ?? "holdfast-page";

/** The server wants another token. */
export class TokenError extends Error {}

export function useToken(text) {
  token = text;
  sessionStorage.setItem(KEPT, text);
}

export const activity = () => ask("GET", "/v1/activity");

export const redeliver = (id) => ask("POST", `/v1/webhooks/deliveries/${id}/redeliver`);

async function ask(method, path) {
  const answer = await fetch(path, {
    method,
    // Headers hold bytes: a token of other characters goes out as UTF-8.
    headers: { Accept: "application/json", Authorization: `Bearer ${bytes(token)}` },
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  const body = await answer.json().catch(() => null);
  if (answer.ok && body) return body;
  const message = typeof body?.message === "string" ? body.message : body?.detail;
  const text = typeof message === "string" ? message : `The server answered ${answer.status}`;
  throw answer.status === 401 ? new TokenError(text) : new Error(text);
}

function bytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}
