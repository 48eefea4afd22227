/** A section of a board: its pictures in their order, and the list that shows those of them that are near the window. */

import { el } from "./dom.js";

export class Section {
  /**
   * @param {string} label for a screen reader
   * @param {HTMLElement | null} heading
   */
  constructor(label, heading) {
    this.list = el("ul", { role: "listbox", "aria-multiselectable": "true", "aria-label": label, class: "tiles" });
    this.element = el("section", { class: "group", "aria-label": label, hidden: true }, heading, this.list);
    /** @type {string[]} */
    this.ids = [];
  }

  get size() {
    return this.ids.length;
  }

  /**
   * Put pictures before another one; at the end where that is not here.
   * @param {string[]} ids
   * @param {string | null | undefined} next
   */
  insert(ids, next) {
    const at = typeof next === "string" ? this.ids.indexOf(next) : -1;
    this.ids = at < 0 ? [...this.ids, ...ids] : [...this.ids.slice(0, at), ...ids, ...this.ids.slice(at)];
    this.#showWhetherEmpty();
  }

  /**
   * Take pictures out.
   * @param {Set<string>} gone
   */
  remove(gone) {
    this.ids = this.ids.filter((id) => !gone.has(id));
    this.#showWhetherEmpty();
  }

  #showWhetherEmpty() {
    this.element.hidden = !this.ids.length;
  }
}
