// A first input for a JSON Schema, to be filled in: what is required and what has a default.

const DEEPEST = 6;

export function template(schema) {
  let made;
  try {
    made = make(schema, schema, 0);
  } catch {
    // A reference that is no URL: no template can be made, and none is needed.
  }
  return made && typeof made === "object" && !Array.isArray(made) ? made : {};
}

function make(given, root, depth) {
  const schema = resolved(given, root);
  if (!schema || typeof schema !== "object" || depth > DEEPEST) return null;
  for (const name of ["default", "const"]) if (name in schema) return schema[name];
  for (const name of ["examples", "enum"]) if (Array.isArray(schema[name]) && schema[name].length) return schema[name][0];
  const choice = schema.anyOf?.[0] ?? schema.oneOf?.[0];
  if (choice && !schema.type && !schema.properties) return make(choice, root, depth + 1);
  const kind = [schema.type].flat().find((one) => one && one !== "null") ?? (schema.properties || schema.allOf ? "object" : null);
  switch (kind) {
    case "object":
      return object(schema, root, depth);
    case "array":
      return schema.minItems > 0 ? [make(schema.items ?? {}, root, depth + 1)] : [];
    case "string":
      return schema.format === "date-time" ? new Date().toISOString() : "";
    case "integer":
    case "number":
      return schema.minimum ?? (schema.exclusiveMinimum ?? -1) + 1;
    case "boolean":
      return false;
    default:
      return null;
  }
}

function object(schema, root, depth) {
  const parts = [schema, ...(schema.allOf ?? []).map((part) => resolved(part, root) ?? {})];
  const properties = Object.assign({}, ...parts.map((part) => part.properties ?? {}));
  const required = new Set(parts.flatMap((part) => part.required ?? []));
  const wanted = new Set(
    Object.keys(properties).filter((name) => required.size === 0 || required.has(name) || "default" in Object(properties[name])),
  );
  const entries = [...wanted, ...[...required].filter((name) => !wanted.has(name))];
  return Object.fromEntries(entries.map((name) => [name, make(properties[name] ?? {}, root, depth + 1)]));
}

/** Follows references within the document; others are not fetched. */
function resolved(schema, root, hops = 0) {
  const reference = schema?.$ref;
  if (typeof reference !== "string" || hops > DEEPEST) return schema;
  if (!reference.startsWith("#")) return {};
  let at = root;
  for (const part of reference.slice(1).split("/").slice(1)) {
    at = at?.[decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")];
  }
  return resolved(at, root, hops + 1);
}
