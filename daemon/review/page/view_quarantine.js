/** Images that could not be read: why, and another try. */

import { get } from "./api.js";
import { Deck } from "./deck.js";
import { el, fill } from "./dom.js";
import { Paged } from "./paged.js";
import { labelling } from "./rules.js";
import { number, t } from "./texts.js";
import { picture } from "./types.js";

export class Quarantine {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    const retry = () => ({ kind: "retry" });
    const rules = labelling({
      accept: retry,
      label: () => null,
      none: () => null,
      remove: () => null,
      proposed: () => null,
      caption: (one) => one.folder ?? "",
      acceptance: () => [t("Try again")],
    });
    this.deck = new Deck(app, rules, () => void this.pages.more());
    /** @type {string | null} */
    this.reason = null;
    this.reasons = el("div", { class: "tabs" });
    this.empty = el("p", { class: "empty", hidden: true }, t("No image is in quarantine."));
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, t("Quarantine")), el("p", { class: "tools" }, t("What could not be read, and why"))),
      this.reasons, this.empty, this.deck.element);
    this.#begin();
  }

  open() {
    return this.pages.more();
  }

  close() {
    this.deck.close();
  }

  #begin() {
    const section = this.deck.board.section(t("Quarantine"));
    this.pages = new Paged(
      (after) => get("quarantine", { reason: this.reason, after, limit: 60 }),
      (page) => {
        const pictures = page.images.map(asPicture).filter((/** @type {any} */ one) => one.waiting === null && !this.app.gone.has(one.id));
        this.deck.board.add(section, pictures);
        this.empty.hidden = this.deck.board.size > 0;
        this.#drawReasons(page.reasons);
      },
    );
  }

  /** @param {{reason: string, count: number, says: string}[]} reasons */
  #drawReasons(reasons) {
    const all = reasons.reduce((sum, one) => sum + one.count, 0);
    const tabs = [{ reason: null, count: all, says: t("All") }, ...reasons];
    fill(this.reasons, ...(reasons.length > 1 ? tabs : []).map(({ reason, count, says }) =>
      el("button", { "aria-pressed": String(reason === this.reason), onclick: () => this.#choose(reason) },
        says, el("span", { class: "count" }, number(count)))));
  }

  /** @param {string | null} reason */
  #choose(reason) {
    this.reason = reason;
    this.deck.board.clear();
    this.#begin();
    void this.open();
  }
}

/** @param {any} image */
function asPicture(image) {
  return { ...picture(image), folder: image.says, label: null, confidence: null, note: image.note };
}
