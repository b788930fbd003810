// Where in a JSON text something is, and where it stops being JSON.

/**
 * Start and end of the value that `path` (names and indexes) leads to, or of the last value on the way that is there.
 * The text has to be valid JSON.
 */
export function locate(text, path) {
  let at = 0;
  let best = [0, text.length, -1];

  const space = () => {
    while (/\s/.test(text[at] ?? "")) at++;
  };
  const string = () => {
    const start = at++;
    while (text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    return JSON.parse(text.slice(start, ++at));
  };
  const members = (close, one) => {
    at++;
    for (space(); text[at] !== close; space()) {
      one();
      space();
      if (text[at] === ",") at++;
    }
    at++;
  };
  // `depth` is how much of the path leads here; -1 if this is beside it.
  const value = (depth) => {
    space();
    const start = at;
    const next = (name) => (depth >= 0 && depth < path.length && String(path[depth]) === String(name) ? depth + 1 : -1);
    if (text[at] === "{") {
      members("}", () => {
        const name = string();
        space();
        at++;
        value(next(name));
      });
    } else if (text[at] === "[") {
      let index = 0;
      members("]", () => value(next(index++)));
    } else if (text[at] === '"') {
      string();
    } else {
      while (at < text.length && !/[\s,\]}]/.test(text[at])) at++;
    }
    if (depth > best[2]) best = [start, at, depth];
  };

  value(0);
  return best.slice(0, 2);
}

/** Line and column, from 1, of a position. */
export function place(text, position) {
  const lines = text.slice(0, position).split("\n");
  return { line: lines.length, column: lines.at(-1).length + 1 };
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const OTHER = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-])/y;

/**
 * The first place where a text is not JSON (RFC 8259), and what is missing there; undefined if it is JSON.
 *
 * Browsers tell the place in words of their own, and not always.
 */
export function mistake(text) {
  let at = 0;

  const take = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found !== null;
  };
  const skip = (letter) => {
    take(SPACE);
    const there = text[at] === letter;
    if (there) at++;
    return there;
  };
  const need = (there, expected) => {
    if (!there) throw { at, expected };
  };
  const members = (close, one) => {
    if (skip(close)) return;
    do one();
    while (skip(","));
    need(skip(close), `a comma or ${close}`);
  };
  const value = () => {
    if (skip("{")) {
      members("}", () => {
        take(SPACE);
        need(take(STRING), 'a name in "double quotes"');
        need(skip(":"), "a colon");
        value();
      });
    } else if (skip("[")) {
      members("]", value);
    } else {
      need(take(STRING) || take(OTHER), "a value");
    }
  };

  try {
    value();
    take(SPACE);
    need(at === text.length, "the end");
    return undefined;
  } catch (wrong) {
    // Nested too deeply for this page: the server decides.
    if (wrong instanceof RangeError) return undefined;
    return wrong;
  }
}
