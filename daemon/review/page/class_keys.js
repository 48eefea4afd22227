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
  const left = new Map(Object.entries(kept).filter(([name]) => !keys.has(name)).map(([name, key]) => [key, name]));
  const isFree = (/** @type {string} */ key) => !taken.has(key);
  // The keys of classes that are away are given to others last.
  const free = [...CLASS_KEYS].filter((key) => isFree(key) && !left.has(key));
  free.push(...[...CLASS_KEYS].filter((key) => isFree(key) && left.has(key)));
  for (const name of classes) {
    if (keys.has(name) || !free.length) continue;
    const key = /** @type {string} */ (free.shift());
    keys.set(name, key);
    left.delete(key);
  }
  const away = [...left].map(([key, name]) => [name, key]);
  localStorage.setItem(store, JSON.stringify(Object.fromEntries([...away, ...keys])));
  return keys;
}
