/** What was filed in the last minutes, as it comes. */

import { get } from "./api.js";
import { Deck } from "./deck.js";
import { el } from "./dom.js";
import { Paged } from "./paged.js";
import { labelling } from "./rules.js";
import { nodes, t, time } from "./texts.js";
import { picture } from "./types.js";

const MINUTES = 60;

export class Live {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    const isNoClass = (/** @type {string | null} */ folder) => folder === null || folder === app.session.others || app.panel.isInner(folder);
    const rules = labelling({
      accept: (one) => (isNoClass(one.folder) ? null : { kind: "label", to: one.folder }),
      proposed: (one) => one.folder,
      acceptance: (name) => (name === null ? [t("Accept")] : nodes("Right: {name}", { name })),
    });
    this.deck = new Deck(app, rules, () => void this.pages?.more());
    this.section = this.deck.board.section(t("Live"));
    this.pages = new Paged((after) => this.#fetch(after, 60), (page) => this.#arrived(page, false));
    this.empty = el("p", { class: "empty", hidden: true }, t("Nothing was filed in the last hour."));
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, t("Live")), el("p", { class: "tools" }, t("Filed in the last hour, the newest first"))),
      this.empty, this.deck.element);
  }

  open() {
    return this.pages.more();
  }

  close() {
    this.deck.close();
    clearTimeout(this.timer);
  }

  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.#look(), 200);
  }

  async #look() {
    const page = await this.#fetch(null, 60).catch(() => null);
    if (page) this.#arrived(page, true);
  }

  /**
   * @param {number | null} after
   * @param {number} limit
   */
  #fetch(after, limit) {
    return get("live", { minutes: MINUTES, after, limit });
  }

  /**
   * @param {any} page
   * @param {boolean} isNewer than those that are shown
   */
  #arrived(page, isNewer) {
    const pictures = page.images.map(asPicture).filter((/** @type {any} */ one) => !this.app.gone.has(one.id));
    this.deck.board.add(this.section, pictures, isNewer ? this.section.ids[0] : undefined);
    this.empty.hidden = this.deck.board.size > 0;
  }
}

/** @param {any} image */
function asPicture(image) {
  return { ...picture(image), note: time(image.time) };
}
