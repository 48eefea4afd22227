/** One class at a time: what lies in its folder, the least sure or the most unlike first. */

import { get } from "./api.js";
import { Deck } from "./deck.js";
import { bdi, el, fill } from "./dom.js";
import { Paged } from "./paged.js";
import { caption, labelling } from "./rules.js";
import { nodes, number, percent, t, tn } from "./texts.js";
import { picture } from "./types.js";

const ORDERS = [
  ["least-sure", () => t("Least sure first")],
  ["most-unlike", () => t("Most unlike first")],
  ["newest", () => t("Newest first")],
];

const AGAIN_MS = 1500;

let order = "least-sure";

export class Classes {
  /**
   * @param {import("./app.js").App} app
   * @param {string} name of the class; empty for the first one
   */
  constructor(app, name) {
    this.app = app;
    const classes = app.panel.classes.filter((one) => one.count > 0);
    this.name = name || (classes[0]?.name ?? "");
    this.deck = new Deck(app, this.#rules(), () => void this.pages?.more());
    this.pages = new Paged(
      (after) => get("class", { name: this.name, order, after, limit: 60 }),
      (page) => this.#arrived(page),
    );
    this.section = this.deck.board.section(this.name || t("Classes"));
    this.total = el("span", {});
    this.progress = el("span", { role: "status" });
    this.empty = el("p", { class: "empty", hidden: true }, t("No image lies here."));
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, this.name ? bdi(this.name) : t("Classes")), el("p", { class: "tools" }, this.progress, this.total, this.#orders())),
      el("nav", { class: "tabs", "aria-label": t("Classes") }, ...classes.map((one) => this.#tab(one))),
      this.empty,
      this.deck.element,
    );
  }

  async open() {
    this.element.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest" });
    if (!this.name) this.empty.hidden = false;
    else await this.pages.more();
  }

  close() {
    this.deck.close();
    clearTimeout(this.timer);
  }

  /** Until the images have been compared, show how far that is; then show them in their order. */
  async #look() {
    const page = await get("class", { name: this.name, order, limit: 1 }).catch(() => null);
    if (page?.is_ordered) this.app.show();
    else this.#wait(page?.progress ?? 0);
  }

  /** @param {number} progress */
  #wait(progress) {
    fill(this.progress, t("Comparing the images: {share}", { share: percent(progress) }));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.#look(), AGAIN_MS);
  }

  /** What is accepted here is that the picture lies where it belongs, unless it belongs deeper. */
  #rules() {
    const name = this.app.panel.isInner(this.name) ? null : this.name;
    return labelling({
      accept: () => (name === null ? null : { kind: "label", to: name }),
      proposed: () => name,
      caption,
      acceptance: (name) => (name === null ? [t("Accept")] : nodes("Right: {name}", { name })),
    });
  }

  /** @param {any} page */
  #arrived(page) {
    const pictures = page.images.map(picture).filter((/** @type {any} */ one) => one.waiting === null);
    this.deck.board.add(this.section, pictures);
    if (page.total !== null) fill(this.total, tn("{count} image", "{count} images", page.total));
    this.empty.hidden = this.deck.board.size > 0;
    if (page.is_ordered === false && this.deck.board.size > 1) this.#wait(page.progress);
  }

  /** @param {{name: string, count: number}} one */
  #tab(one) {
    return el("a", { href: `#classes/${encodeURIComponent(one.name)}`, "aria-current": one.name === this.name ? "true" : null },
      bdi(one.name), el("span", { class: "count" }, number(one.count)));
  }

  #orders() {
    const choose = el("select", { "aria-label": t("Order") },
      ...ORDERS.map(([value, title]) => el("option", { value, selected: value === order }, /** @type {any} */ (title)())));
    choose.addEventListener("change", () => {
      order = /** @type {HTMLSelectElement} */ (choose).value;
      this.app.show();
    });
    return choose;
  }
}
