/** Make and change elements. Names come from anywhere: they only ever become text, never markup. */

/** @typedef {Node | string | null | false | undefined} Child */

/**
 * Make an element. Properties that begin with `on` are listeners, those of `dataset` become `data-…`, the others are
 * attributes: `true` sets an empty one, and `false`, null and undefined leave it out.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...Child} children
 * @returns {HTMLElement}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/**
 * Append nodes and texts; what is none of them is left out.
 * @param {Element} element
 * @param {Child[]} children
 */
export function append(element, children) {
  for (const child of children) if (child || child === "") element.append(child);
}

/**
 * Replace the children of an element.
 * @param {Element} element
 * @param {...Child} children
 */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
}

/**
 * A name, kept apart from the text around it, whatever direction its letters have.
 * @param {string} name
 * @param {Record<string, any>} [properties]
 */
export function bdi(name, properties = {}) {
  return el("bdi", properties, name);
}

/**
 * Find an element that the page has.
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function find(selector) {
  const element = document.querySelector(selector);
  if (!(element instanceof HTMLElement)) throw new Error(`the page lacks ${selector}`);
  return element;
}

/**
 * Set one property of the style; a style attribute would be against the policy of the page.
 * @param {HTMLElement} element
 * @param {string} name
 * @param {string | number} value
 */
export function style(element, name, value) {
  element.style.setProperty(name, String(value));
  return element;
}
