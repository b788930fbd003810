// Keeps the health of the page up to date. The page comes from the server anew, and only what changed is put in.

const SECONDS = 5;

const status = document.getElementById("health-status");
const details = document.getElementById("health-details");

async function refresh() {
  if (document.hidden) return;
  let fresh;
  try {
    const answer = await fetch("/_about", { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 2000) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    say("state bad", "Does not answer; this page keeps trying");
    return;
  }
  const now = fresh.getElementById("health-status");
  say(now.className, now.textContent);
  details.replaceChildren(...fresh.getElementById("health-details").children);
}

/** A screen reader is told only when the text is another one. */
function say(look, text) {
  if (status.textContent === text) return;
  status.className = look;
  status.textContent = text;
}

async function keepFresh() {
  await refresh();
  setTimeout(keepFresh, SECONDS * 1000);
}

setTimeout(keepFresh, SECONDS * 1000);
document.addEventListener("visibilitychange", refresh);
