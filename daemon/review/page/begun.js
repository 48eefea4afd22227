/** What the server has sent with the page, so that there is something to see before anything is asked for. */

import { get } from "./api.js";

/** @type {Record<string, any>} */
let answers = taken();

/** The page keeps no second copy of it. */
function taken() {
  const place = document.querySelector("template#begun");
  place?.remove();
  return place instanceof HTMLTemplateElement ? JSON.parse(place.content.textContent ?? "{}") : {};
}

/**
 * Ask the server, unless its answer has come with the page.
 * @param {string} name
 * @param {Record<string, string | number | null | undefined>} [parameters]
 * @returns {Promise<any>}
 */
export function first(name, parameters) {
  const answer = answers[name];
  delete answers[name];
  return answer === undefined ? get(name, parameters) : Promise.resolve(answer);
}

/** From now on the answers may be out of date. */
export function forget() {
  answers = {};
}
