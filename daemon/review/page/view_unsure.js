/** The pile: what the model was not sure of, in groups that look alike, the largest first. */

import { get } from "./api.js";
import { first } from "./begun.js";
import { Deck } from "./deck.js";
import { el, fill } from "./dom.js";
import { Paged } from "./paged.js";
import { labelling } from "./rules.js";
import { nodes, percent, t, tn } from "./texts.js";
import { picture } from "./types.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {{label: string, share: number}} Likely */
/** @typedef {{id: number, kind: "alike" | "unlike" | "new", left: number, section: import("./section.js").Section, head: HTMLElement, likely: Likely[], pages: Paged}} Group */

/** Pictures of a group that are shown at first, and those of a page of it. */
const [FIRST, MORE] = [12, 48];
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
    this.unread = 0;
    this.trouble = "";
    this.hasNew = false;
  }

  async open() {
    await this.#begin();
    this.#draw();
  }

  #begin() {
    this.pages = new Paged((after) => this.#fetch(after), (page) => this.#arrived(page));
    return this.pages.more();
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
    const page = await (after === null ? first : get)("unsure", { after, limit: 20, images: FIRST });
    return { ...page, images: [] };
  }

  async #look() {
    const page = await get("unsure", { limit: 1, images: FIRST }).catch(() => null);
    if (!page) return;
    this.#take(page);
    this.hasNew = page.grouping !== this.grouping || (this.deck.board.size === 0 && page.total > 0);
    if (this.hasNew && this.deck.board.size === 0) return this.#again();
    if (page.is_grouped && !this.isGrouped) await this.#join().catch((/** @type {Error} */ error) => this.app.failed(error));
    this.#draw();
    if (page.left > 0 || !page.is_grouped) this.heard();
  }

  #again() {
    this.app.show();
  }

  /** The first groups are there: they come behind the pictures that are shown, which stay where they are. */
  #join() {
    const { board } = this.deck;
    board.shorten();
    for (const group of this.groups) {
      group.pages.isAtEnd = true;
      this.#drawHead(group);
    }
    this.hasNew = false;
    return this.#begin();
  }

  /** @param {any} page */
  #take(page) {
    this.total = page.total;
    this.unread = page.left;
    this.trouble = page.trouble ?? "";
  }

  /** @param {any} page */
  #arrived(page) {
    this.#take(page);
    this.grouping = page.grouping;
    this.isGrouped = page.is_grouped;
    for (const group of page.groups) this.#add(group);
    if (page.left > 0 || !page.is_grouped) this.heard();
    this.#draw();
  }

  /** @param {any} given */
  #add(given) {
    const pages = new Paged(
      (after) => get("unsure/group", { group: given.id, after, limit: MORE }),
      (page) => this.#show(group, page.images),
    );
    const head = el("div", { class: "group-head" });
    /** @type {Group} */
    const group = { id: given.id, kind: given.kind, left: given.count, head, likely: given.likely, pages, section: this.deck.board.section(title(given.kind, given.count), head) };
    pages.after = given.images.at(-1)?.id ?? null;
    pages.isAtEnd = given.images.length >= given.count;
    this.groups.push(group);
    this.#show(group, given.images);
  }

  /**
   * @param {Group} group
   * @param {any[]} images
   */
  #show(group, images) {
    const pictures = images.map(picture).filter((one) => one.waiting === null && !this.app.gone.has(one.id));
    for (const one of pictures) if (!this.deck.board.pictures.has(one.id)) this.groupOf.set(one.id, group);
    this.deck.board.add(group.section, pictures);
    this.#drawHead(group);
  }

  /** More groups; once there are none, more of the last one, and of those that have been worked off in part. */
  async #more() {
    if (!this.pages) return;
    const open = this.groups.find((group) => !group.pages.isAtEnd && group.section.size < FIRST / 2);
    const pages = this.pages.isAtEnd ? (open ?? this.groups.at(-1))?.pages : this.pages;
    await pages?.more().catch((/** @type {Error} */ error) => this.app.failed(error));
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
      if (group.section.size < FIRST / 2) void this.#moreOf(group);
    }
    this.#draw();
  }

  /** @param {Group} group */
  async #moreOf(group) {
    await group.pages.more().catch((/** @type {Error} */ error) => this.app.failed(error));
  }

  /**
   * Do something with a whole group, with those of it that were not shown yet, too.
   * @param {Group} group
   * @param {() => void} act
   */
  async #whole(group, act) {
    try {
      await group.pages.all();
    } catch (error) {
      return this.app.failed(error);
    }
    if (!group.section.size) return; // else the current picture would be meant
    this.deck.board.chooseSection(group.section);
    act();
  }

  /** @param {Group} group */
  #drawHead(group) {
    const { head, kind, likely, pages, section } = group;
    // Some of its pictures may lie in a section above.
    if (pages.isAtEnd) group.left = section.size;
    const { left } = group;
    const isMany = left > 1 && kind === "alike";
    const more = left - section.size;
    fill(
      head,
      el("h3", {}, title(kind, left)),
      el("span", { class: "chips" }, ...(isMany ? likely.slice(0, MOST_LIKELY) : []).map((one) => this.#chip(group, one)),
        isMany && el("button", { class: "chip", onclick: () => void this.#whole(group, () => this.app.panel.ask()) }, t("Another class…"))),
      !pages.isAtEnd && more > 0 && el("button", { class: "link", onclick: () => void this.#moreOf(group) }, tn("Show {count} more", "Show {count} more", Math.min(more, MORE))),
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
      this.total > 1 && el("span", { role: "status" }, this.trouble || (this.unread > 0 &&
        tn("{count} image is still being looked at and grouped", "{count} images are still being looked at and grouped", this.unread))),
      this.hasNew && this.deck.board.size > 0 && el("button", { class: "link", onclick: () => this.#again() }, t("Group anew")),
    );
  }
}

/**
 * @param {"alike" | "unlike" | "new"} kind of a group
 * @param {number} count
 */
function title(kind, count) {
  if (kind === "new") return t("Newest first");
  if (kind === "unlike") return tn("{count} image like no other", "{count} images like no other", count);
  return tn("{count} image", "{count} images alike", count);
}
