/** The sentences of the page by their English: the server sends those of the language that it chose. */

import { bdi } from "./dom.js";

/** @type {Record<string, string>} */
let words = {};
let language = "en";
let locale = "en";

/**
 * @param {Record<string, string>} given by their English; what is missing stays English
 * @param {string} lang
 */
export function useWords(given, lang) {
  words = given;
  language = lang;
  locale = navigator.language.startsWith(lang) ? navigator.language : lang;
}

/**
 * Translate a sentence; `values` fill its fields.
 * @param {string} english
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(english, values = {}) {
  return (words[english] ?? english).replace(/\{(\w+)\}/g, (field, key) => shown(values[key] ?? field));
}

/**
 * Translate a sentence that depends on a number, which it may use as `{count}`. Only English has a singular.
 * @param {string} one
 * @param {string} many
 * @param {number} count
 * @param {Record<string, string | number>} [values]
 */
export function tn(one, many, count, values = {}) {
  return t(count === 1 && language === "en" ? one : many, { count, ...values });
}

/**
 * Translate a sentence into nodes, with each text among `values` in an element of its own: for names in any writing.
 * @param {string} english
 * @param {Record<string, string | number>} values
 * @returns {(string | HTMLElement)[]}
 */
export function nodes(english, values) {
  const parts = (words[english] ?? english).split(/(\{\w+\})/);
  return parts.map((part) => {
    if (!part.startsWith("{")) return part;
    const value = values[part.slice(1, -1)] ?? part;
    return typeof value === "number" ? number(value) : bdi(value);
  });
}

/**
 * The same for a sentence that depends on a number.
 * @param {string} one
 * @param {string} many
 * @param {number} count
 * @param {Record<string, string | number>} [values]
 */
export function countedNodes(one, many, count, values = {}) {
  return nodes(count === 1 && language === "en" ? one : many, { count, ...values });
}

/**
 * A share as a percentage, with a digit after the point where little is left to either end.
 * @param {number} share
 */
export function percent(share) {
  const left = Math.min(share, 1 - share);
  const digits = left > 0 && left < 0.0995 ? 1 : 0;
  return new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: digits }).format(share);
}

/** @param {number} value */
export function number(value) {
  return new Intl.NumberFormat(locale).format(value);
}

/** @param {string} iso */
export function time(iso) {
  const moment = new Date(iso);
  const today = moment.toDateString() === new Date().toDateString();
  /** @type {Intl.DateTimeFormatOptions} */
  const form = today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(locale, form).format(moment);
}

/** @param {string} iso */
export function day(iso) {
  return new Intl.DateTimeFormat(locale, { month: language === "ko" ? "numeric" : "short", day: "numeric" }).format(new Date(iso));
}

/** @param {string | number} value */
function shown(value) {
  return typeof value === "number" ? number(value) : value;
}
