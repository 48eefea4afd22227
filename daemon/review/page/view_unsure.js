/** The pile: what the model was not sure of, in groups that look alike, the largest first. */

import { get } from "./api.js";
import { Deck } from "./deck.js";
import { el, fill } from "./dom.js";
import { Paged } from "./paged.js";
import { labelling } from "./rules.js";
import { nodes, percent, t, tn } from "./texts.js";
import { picture } from "./types.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {{label: string, share: number}} Likely */
/** @typedef {{id: number, left: number, list: HTMLElement, head: HTMLElement, likely: Likely[], pages: Paged}} Group */

/** Pictures of a group that are shown at first, and those of a page of it. */
const [FIRST, MORE] = [12, 120];
const MOST_LIKELY = 3;

export class Unsure {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.deck = new Deck(app, labelling(), () => void this.#more());
    this.tools = el("p", { class: "tools" });
    this.empty = el("p", { class: "empty", hidden: true }, t("Nothing is left to review. New images that the model is not sure of will appear here."));
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, t("Unsure")), this.tools), this.empty, this.deck.element);
    /** @type {Map<string, Group>} */
    this.groupOf = new Map();
    /** @type {Group[]} */
    this.groups = [];
    this.total = 0;
    this.grouping = -1;
    this.isGrouped = true;
    this.progress = 1;
    this.hasNew = false;
  }

  async open() {
    this.pages = new Paged((after) => this.#fetch(after), (page) => this.#arrived(page));
    await this.pages.more();
    this.#draw();
  }

  close() {
    this.deck.close();
    clearTimeout(this.timer);
  }

  /** @param {Picture[]} pictures */
  decided(pictures) {
    this.#count(pictures, -1);
  }

  /** @param {Picture[]} pictures */
  restored(pictures) {
    this.#count(pictures, 1);
  }

  /** Others have worked, or images have come: look how many there are, in a while. */
  heard() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.#look(), 1500);
  }

  /** @param {number | null} after */
  async #fetch(after) {
    const page = await get("unsure", { after, limit: 20, images: FIRST });
    return { ...page, images: [] };
  }

  async #look() {
    const page = await get("unsure", { limit: 1, images: FIRST }).catch(() => null);
    if (!page) return;
    this.total = page.total;
    this.progress = page.progress;
    this.hasNew = page.grouping !== this.grouping || (this.deck.board.size === 0 && page.total > 0);
    if (this.hasNew && this.deck.board.size === 0) this.#again();
    this.#draw();
    if (!page.is_grouped) this.heard();
  }

  #again() {
    this.app.show();
  }

  /** @param {any} page */
  #arrived(page) {
    this.total = page.total;
    this.grouping = page.grouping;
    this.isGrouped = page.is_grouped;
    this.progress = page.progress;
    for (const group of page.groups) this.#add(group);
    if (!page.is_grouped) this.heard();
    this.#draw();
  }

  /** @param {any} given */
  #add(given) {
    const pages = new Paged(
      (after) => get("unsure/group", { group: given.id, after, limit: MORE }),
      (page) => this.#show(group, page.images),
    );
    const head = el("div", { class: "group-head" });
    const label = this.isGrouped ? tn("{count} image", "{count} images alike", given.count) : t("Newest first");
    /** @type {Group} */
    const group = { id: given.id, left: given.count, head, likely: given.likely, pages, list: this.deck.board.section(label, head) };
    pages.after = given.images.at(-1)?.id ?? null;
    pages.isAtEnd = given.images.length >= given.count;
    this.groups.push(group);
    this.#show(group, given.images);
    this.#drawHead(group);
  }

  /**
   * @param {Group} group
   * @param {any[]} images
   */
  #show(group, images) {
    const pictures = images.map(picture).filter((one) => one.waiting === null && !this.app.mine.has(one.id));
    for (const one of pictures) this.groupOf.set(one.id, group);
    this.deck.board.add(group.list, pictures);
    this.#drawHead(group);
  }

  /** More groups; once there are none, more of the last one, and of those that have been worked off in part. */
  async #more() {
    if (!this.pages) return;
    if (!this.pages.isAtEnd) return this.pages.more();
    const open = this.groups.find((group) => !group.pages.isAtEnd && group.list.childElementCount < FIRST / 2);
    const last = this.groups.at(-1);
    await (open ?? last)?.pages.more();
  }

  /**
   * @param {Picture[]} pictures
   * @param {1 | -1} way
   */
  #count(pictures, way) {
    this.total += way * pictures.length;
    const touched = new Set();
    for (const { id } of pictures) {
      const group = this.groupOf.get(id);
      if (!group) continue;
      group.left += way;
      touched.add(group);
    }
    for (const group of touched) {
      this.#drawHead(group);
      if (group.list.childElementCount < FIRST / 2) void group.pages.more();
    }
    this.#draw();
  }

  /**
   * Do something with a whole group, with those of it that were not shown yet, too.
   * @param {Group} group
   * @param {() => void} act
   */
  async #whole(group, act) {
    await group.pages.all();
    this.deck.board.chooseList(group.list);
    act();
  }

  /** @param {Group} group */
  #drawHead(group) {
    const { head, left, likely, pages, list } = group;
    const chips = left > 1 && this.isGrouped ? likely.slice(0, MOST_LIKELY).map((one) => this.#chip(group, one)) : [];
    const more = left - list.childElementCount;
    fill(
      head,
      el("h3", {}, this.isGrouped ? tn("{count} image", "{count} images alike", left) : t("Newest first")),
      el("span", { class: "chips" }, ...chips,
        left > 1 && this.isGrouped && el("button", { class: "chip", onclick: () => void this.#whole(group, () => this.app.panel.ask()) }, t("Another class…"))),
      !pages.isAtEnd && more > 0 && el("button", { class: "link", onclick: () => void pages.more() }, tn("Show {count} more", "Show {count} more", Math.min(more, MORE))),
    );
  }

  /**
   * @param {Group} group
   * @param {Likely} likely
   */
  #chip(group, { label, share }) {
    const all = () => void this.#whole(group, () => this.deck.label(label, false));
    return el("button", { class: "chip", onclick: all },
      el("span", {}, ...nodes("All {name}", { name: label })), el("span", { class: "sure" }, percent(share)));
  }

  #draw() {
    this.empty.hidden = this.total > 0 || this.deck.board.size > 0;
    const says = tn("{count} image", "{count} images", Math.max(this.total, 0));
    fill(
      this.tools,
      this.total > 0 && el("span", {}, says),
      !this.isGrouped && this.total > 1 && el("span", {}, t("Grouping by likeness: {share}", { share: percent(this.progress) })),
      this.hasNew && this.deck.board.size > 0 && el("button", { class: "link", onclick: () => this.#again() }, t("Group anew")),
    );
  }
}
