// Which view is shown, and how it gets onto the page.

import { get } from "./api.js";
import { attempt, pause } from "./connection.js";
import { h, patchChildren } from "../dom.js";
import { execution } from "./execution.js";
import { executions } from "./executions.js";
import { service, services } from "./services.js";
import { workflow, workflows } from "./workflows.js";

const VIEWS = {
  executions: { all: executions, one: execution },
  workflows: { all: workflows, one: workflow },
  services: { all: services, one: service },
};

const main = document.getElementById("main");
let current;

/** A view that is shown: what it may ask, and where it puts its nodes. */
class View {
  #controller = new AbortController();
  #painted;
  #focus;

  constructor(route, { patches, focus }) {
    this.route = route;
    this.#painted = patches;
    this.#focus = focus;
    /** Called when the address changes within the view. */
    this.changed = () => {};
  }

  get signal() {
    return this.#controller.signal;
  }

  leave() {
    this.#controller.abort();
  }

  get(path) {
    return attempt(() => get(path, this.signal), this.signal);
  }

  pause(milliseconds) {
    return pause(milliseconds, this.signal);
  }

  paint(title, ...nodes) {
    if (this.signal.aborted) return;
    document.title = `${title} · Service Integration · Holdfast`;
    const within = main.contains(document.activeElement) && document.activeElement !== main;
    const fresh = [h("h1", { key: "title", tabindex: "-1" }, title), ...nodes.flat().filter(Boolean)];
    if (this.#painted) patchChildren(main, fresh);
    else main.replaceChildren(...fresh);
    this.#painted = true;
    main.removeAttribute("aria-busy");
    // What had the focus may be gone, or be no link any more; a keyboard would start at the top of the page again.
    if (this.#focus || (within && document.activeElement.matches("body, a:not([href])"))) heading();
    if (this.#focus) scrollTo(0, 0);
    this.#focus = false;
  }
}

function heading() {
  main.querySelector("h1").focus({ preventScroll: true });
}

function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const section = parts[0] || "executions";
  return { section, id: parts[1], step: parts[2] === "steps" ? parts[3] : undefined, query: new URLSearchParams(search) };
}

async function navigate() {
  const route = parse(location.hash);
  const path = JSON.stringify([route.section, route.id]);
  if (current?.path === path && current.query === String(route.query)) {
    current.view.route = route;
    current.view.changed();
    return;
  }
  const samePath = current?.path === path;
  const view = new View(route, { patches: samePath, focus: current !== undefined && !samePath });
  current?.view.leave();
  main.setAttribute("aria-busy", "true");
  current = { path, query: String(route.query), view };
  for (const link of document.querySelectorAll("#sections a")) {
    if (link.hash === `#/${route.section}`) link.setAttribute("aria-current", route.id ? "true" : "page");
    else link.removeAttribute("aria-current");
  }
  const kinds = Object.hasOwn(VIEWS, route.section) ? VIEWS[route.section] : undefined;
  try {
    if (kinds === undefined) throw new Error("There is no such page.");
    await (route.id ? kinds.one : kinds.all)(view);
  } catch (error) {
    if (view.signal.aborted) return;
    failed(view, error);
  }
}

function failed(view, error) {
  const unknown = error.status === 404;
  view.paint(
    unknown ? "Not here" : "This cannot be shown",
    h(
      "section",
      { key: "failed" },
      h("p", {}, unknown ? "The server knows nothing under this address. It may have been deleted." : error.message),
      h("p", {}, h("a", { href: "#/executions" }, "All executions")),
    ),
  );
  // What is no answer of the server's is a mistake of this page, which belongs in the console.
  if (error.status === undefined && kindless(error)) console.error(error);
}

const kindless = (error) => error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;

document.getElementById("skip").addEventListener("click", (event) => {
  // The fragment is the address of the view.
  event.preventDefault();
  heading();
});
addEventListener("hashchange", navigate);
navigate();
