/** Which key each class has. A class keeps its key for good, whatever classes join or leave. */

import { CLASS_KEYS } from "./keys.js";

/**
 * @param {string[]} classes in the order of their names
 * @param {string} place what the keys are kept for
 * @returns {Map<string, string>} the key of each class; with more classes than keys some have none
 */
export function assign(classes, place) {
  const store = `imagesortd keys ${place}`;
  /** @type {Record<string, string>} */
  const kept = JSON.parse(localStorage.getItem(store) ?? "{}");
  const keys = new Map(classes.filter((name) => Object.hasOwn(kept, name)).map((name) => [name, kept[name]]));
  const taken = new Set(keys.values());
  const free = [...CLASS_KEYS].filter((key) => !taken.has(key));
  for (const name of classes) {
    if (keys.has(name) || !free.length) continue;
    keys.set(name, /** @type {string} */ (free.shift()));
  }
  localStorage.setItem(store, JSON.stringify(Object.fromEntries(keys)));
  return keys;
}
