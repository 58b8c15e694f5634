// What is looked at: the choices of the panel and the place, as the query of the server and as the part of the
// page's address behind '#', which restores the view.

// Characters of what was got, in a sentence.
const LONGEST_SHOWN = 40;

/** @returns the choices that a checkpoint starts with. */
export function defaultChoices(info) {
  return {
    seed: 0, class: 0, psi: 1, to: null, t: 0.5, space: info.spaces[info.spaces.length - 1], style: null, layers: [],
    rule: info.rule, compare: "none", border: true,
  };
}

/** The query that names the image, and for tiles of the INR the rule. */
export function imageQuery(choices, info, rule = null) {
  const query = new URLSearchParams({ seed: choices.seed });
  if (info.classes) query.set("class", choices.class);
  if (choices.psi !== 1 && info.truncation) query.set("psi", choices.psi);
  if (choices.to !== null) {
    query.set("to", choices.to);
    query.set("t", choices.t);
    query.set("space", choices.space);
  }
  if (choices.style !== null && choices.layers.length) {
    query.set("style", choices.style);
    query.set("layers", choices.layers.join(","));
  }
  if (rule) query.set("rule", rule);
  return query.toString();
}

/** The part behind '#': choices that differ from the defaults, and the view {x, y, span}. */
export function addressOf(choices, view, info) {
  const query = new URLSearchParams();
  const defaults = defaultChoices(info);
  for (const [key, value] of Object.entries(choices)) {
    const text = Array.isArray(value) ? value.join(",") : String(value);
    if (text !== String(defaults[key]) && value !== null) query.set(key, text);
  }
  if (view) for (const key of ["x", "y", "span"]) query.set(key, Number(view[key].toPrecision(9)));
  return query.toString().replaceAll("%2C", ",");
}

/**
 * Reads what `addressOf` wrote.
 * @returns {choices, view, ignored}: view is null where the address has none; ignored holds the choices of the address
 *   that do not fit this checkpoint, such as "seed=-1".
 */
export function readAddress(text, info) {
  const query = new URLSearchParams(text);
  const choices = defaultChoices(info);
  const ignored = [];
  const fitting = (key, value, fits) => {
    if (query.has(key) && fits) return value;
    if (query.has(key)) ignored.push(`${key}=${query.get(key).slice(0, LONGEST_SHOWN)}`);
    return choices[key];
  };
  const whole = (key, most) => {
    const value = Number(query.get(key));
    return fitting(key, value, query.get(key) !== "" && Number.isInteger(value) && value >= 0 && value <= most);
  };
  const real = (key, least, most) => {
    const value = Number(query.get(key));
    return fitting(key, value, query.get(key) !== "" && value >= least && value <= most);
  };
  const oneOf = (key, names) => fitting(key, query.get(key), names.includes(query.get(key)));
  const layers = (query.get("layers") ?? "").split(",").filter((part) => part !== "").map(Number);
  const isLayer = (layer) => Number.isInteger(layer) && layer >= 0 && layer < info.layers;
  Object.assign(choices, {
    seed: whole("seed", info.max_seed), to: whole("to", info.max_seed), style: whole("style", info.max_seed),
    class: whole("class", Math.max(0, info.classes - 1)), t: real("t", 0, 1), psi: real("psi", 0, info.max_psi),
    space: oneOf("space", info.spaces), rule: oneOf("rule", Object.keys(info.rules)),
    compare: oneOf("compare", ["none", ...info.filters]), border: query.get("border") !== "false",
    layers: fitting("layers", layers, layers.every(isLayer)),
  });
  const view = Object.fromEntries(["x", "y", "span"].map((key) => [key, Number.parseFloat(query.get(key))]));
  const isView = Object.values(view).every(Number.isFinite) && view.span > 0;
  return { choices, view: isView ? view : null, ignored };
}
