// Elements, and how a new picture of the page is put into the old one without disturbing who works in it.

/**
 * An element. Everything that is data becomes text or an attribute's value; nothing is ever read as HTML.
 *
 * `key` tells siblings apart over repaints, `on` has event handlers, `keep` leaves what is inside to itself at repaints.
 */
export function h(tag, { key, on, keep, value, ...attributes } = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, it] of Object.entries(attributes)) {
    if (it !== null && it !== undefined && it !== false) node.setAttribute(name, it === true ? "" : it);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  if (value !== undefined) node.value = value;
  node.key = key;
  node.keep = keep;
  listen(node, on ?? {});
  return node;
}

/** Makes the children of `old` what `fresh` has, with as few changes as possible: focus, selection, scroll stay. */
export function patchChildren(old, fresh) {
  const keyed = new Map([...old.children].filter((child) => child.key !== undefined).map((child) => [child.key, child]));
  let at = old.firstChild;
  for (const next of [...fresh]) {
    const candidate = next.key === undefined ? at : keyed.get(next.key);
    if (!candidate || !alike(candidate, next)) {
      old.insertBefore(next, at);
    } else {
      if (candidate === at) at = at.nextSibling;
      else old.insertBefore(candidate, at);
      patch(candidate, next);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function alike(old, fresh) {
  return old.nodeName === fresh.nodeName && old.key === fresh.key;
}

function patch(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.keep) return;
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Whether a <details> is open is the reader's affair.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  listen(old, fresh.handlers);
  patchChildren(old, fresh.childNodes);
  if (old.nodeName === "SELECT" && old.value !== fresh.value) old.value = fresh.value;
}

function listen(node, handlers) {
  for (const type of Object.keys(handlers)) {
    if (!node.handlers?.[type]) node.addEventListener(type, dispatch);
  }
  node.handlers = handlers;
}

function dispatch(event) {
  event.currentTarget.handlers[event.type]?.(event);
}

let pending = [];
let timer;

/** Tells a screen reader, when it has finished what it is saying. What comes within a second is said together. */
export function announce(text) {
  pending.push(text);
  clearTimeout(timer);
  timer = setTimeout(() => {
    document.getElementById("said").textContent = pending.join(". ");
    pending = [];
  }, 600);
}
