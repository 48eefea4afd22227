/** Random images of those filed, each right or wrong by one key: how many are wrong, and whether the promise holds. */

import { get, post } from "./api.js";
import { chart } from "./chart.js";
import { Deck } from "./deck.js";
import { el, fill } from "./dom.js";
import { bar, sentence, table, verdict } from "./estimate.js";
import { labelling } from "./rules.js";
import { nodes, number, t, time, tn } from "./texts.js";
import { picture } from "./types.js";

const DAY_MS = 86_400_000;
const REFRESH_MS = 300;

export class Audit {
  /**
   * @param {import("./app.js").App} app
   * @param {string} id of the audit to answer; empty for the history
   */
  constructor(app, id) {
    this.app = app;
    this.id = id;
    this.deck = id ? new Deck(app, this.#rules(), () => undefined) : null;
    this.summary = el("div", { class: "summary", "aria-live": "off" });
    this.tools = el("p", { class: "tools" });
    this.classes = el("div", {});
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, t("Audit")), this.tools), this.summary, this.deck?.element, this.classes);
  }

  async open() {
    if (!this.id || !this.deck) return this.#history();
    const audit = await get("audit", { audit: this.id });
    const section = this.deck.board.section(t("Audit"));
    const left = audit.images.filter((/** @type {any} */ one) => one.right === null && one.image !== null);
    this.deck.board.add(section, left.map((/** @type {any} */ one) => ({ ...picture(one.image), folder: one.filed_as, label: one.filed_as })));
    this.#draw(audit);
    this.deck.open(true);
  }

  close() {
    this.deck?.close();
    clearTimeout(this.timer);
  }

  /** The answers have arrived: look what they come to. */
  settled() {
    clearTimeout(this.timer);
    if (this.id) this.timer = setTimeout(() => void this.#refresh(), REFRESH_MS);
  }

  async #refresh() {
    const audit = await get("audit", { audit: this.id }).catch(() => null);
    if (audit) this.#draw(audit);
  }

  #rules() {
    const audit = this.id;
    return labelling({
      accept: () => ({ kind: "audit", audit, right: true }),
      label: (one, to, isNew) => (to === one.folder ? { kind: "audit", audit, right: true } : { kind: "audit", audit, right: to.startsWith(`${one.folder}/`), to, new: isNew }),
      none: () => ({ kind: "audit", audit, right: false, to: this.app.session.others }),
      unknown: () => ({ kind: "audit", audit, right: false }),
      remove: () => null,
      proposed: (one) => one.folder,
      caption: (one) => t("Filed as {name}. Right?", { name: one.folder ?? "" }),
      acceptance: (name) => (name === null ? [t("Right")] : nodes("Right: {name}", { name })),
    });
  }

  /** @param {any} audit */
  #draw(audit) {
    const answered = audit.overall.answered;
    fill(this.tools,
      el("a", { href: "#audit" }, t("All audits")),
      el("span", {}, t("{answered} of {count} answered", { answered, count: audit.images.length })));
    fill(this.summary, el("p", {}, sentence(audit.overall)), bar(audit.overall), el("p", { class: audit.overall.is_broken ? "broken" : "note" }, verdict(audit.overall)));
    const isOver = answered === audit.images.length;
    fill(this.classes, isOver && el("h3", {}, t("By class")), isOver && table(audit.classes));
  }

  async #history() {
    const { audits } = await get("audits");
    fill(this.tools, t("How many of the images that were filed are wrong? Draw some at random and look."));
    fill(this.summary, this.#form(), audits.length > 0 && el("h3", {}, t("History")), chart(audits), el("ul", { class: "audits" }, ...audits.map(row)));
  }

  #form() {
    const count = /** @type {HTMLInputElement} */ (el("input", { type: "number", min: 1, max: 2000, value: 50, required: true }));
    const since = /** @type {HTMLInputElement} */ (
      el("input", { type: "date", required: true, value: new Date(Date.now() - 7 * DAY_MS).toISOString().slice(0, 10) })
    );
    const form = el("form", { class: "draw" },
      el("label", {}, el("span", {}, t("Images")), count),
      el("label", {}, el("span", {}, t("Filed since")), since),
      el("button", { class: "action" }, t("Draw")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#begin(Number(count.value), new Date(`${since.value}T00:00:00`).toISOString());
    });
    return form;
  }

  /**
   * @param {number} count
   * @param {string} since
   */
  async #begin(count, since) {
    try {
      const audit = await post("audits", { count, since });
      location.hash = `audit/${encodeURIComponent(audit.id)}`;
    } catch (error) {
      this.app.failed(error);
    }
  }
}

/** @param {any} audit */
function row(audit) {
  const { overall } = audit;
  return el("li", {},
    el("a", { href: `#audit/${encodeURIComponent(audit.id)}` }, time(audit.time)),
    el("span", { class: "note" }, tn("{count} of {filed} filed image", "{count} of {filed} filed images", audit.count, { filed: number(audit.filed) })),
    el("span", {}, sentence(overall)),
    bar(overall),
    el("span", { class: overall.is_broken ? "broken" : "note" }, verdict(overall)));
}
