/** A board, the large view of it and what keys do to them: what most views consist of. */

import { announce } from "./announce.js";
import { Board } from "./board.js";
import { el } from "./dom.js";
import { AHEAD, Large } from "./large.js";
import { percent, t, tn } from "./texts.js";
import { thumbnail } from "./types.js";

/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {import("./types.js").Rules} Rules */
/** @typedef {import("./types.js").Decision} Decision */
/** @typedef {import("./keys.js").Press} Press */

const DIRECTIONS = new Set(["left", "right", "up", "down", "first", "last"]);

/** Do nothing: what a key does that has no meaning in a view. */
export const nothing = () => null;

export class Deck {
  /**
   * @param {import("./app.js").App} app
   * @param {Rules} rules
   * @param {() => void} wanted few pictures are left
   */
  constructor(app, rules, wanted) {
    this.app = app;
    this.rules = rules;
    this.board = new Board({
      tile: (picture) => this.#tile(picture),
      moved: () => this.refresh(),
      wanted,
      opened: () => this.open(true),
    });
    this.large = new Large({
      caption: rules.caption,
      step: (direction) => this.board.step(direction, false),
      closed: () => this.open(false),
    });
    this.element = el("div", { class: "deck" }, this.board.root, this.large.element);
  }

  close() {
    this.board.close();
  }

  /** @param {boolean} isOpen */
  open(isOpen) {
    if (isOpen === this.large.isOpen || (isOpen && this.board.current === null)) return;
    this.large.open(isOpen);
    document.body.classList.toggle("shows-large", isOpen);
    this.app.panel.showLarge(isOpen);
    if (isOpen) this.refresh();
    else this.board.go(this.board.current);
  }

  /**
   * @param {Press} press of the key of a class
   * @returns {boolean} whether it meant something
   */
  press(press) {
    const name = this.app.panel.withKey(press.name);
    if (name !== null) this.label(name, false);
    return name !== null;
  }

  /**
   * @param {string} name
   * @param {boolean} [extend]
   */
  command(name, extend = false) {
    if (DIRECTIONS.has(name)) this.board.step(name, extend && !this.large.isOpen);
    else if (name === "large") this.open(!this.large.isOpen);
    else if (name === "select") this.board.toggle();
    else if (name === "select-all") this.board.chooseAll();
    else if (name === "back") this.#back();
    else if (name === "accept") this.decide(this.rules.accept);
    else if (name === "none") this.decide(this.rules.none);
    else if (name === "unknown") this.decide(this.rules.unknown);
    else if (name === "remove") this.decide(this.rules.remove);
    else return false;
    return true;
  }

  /**
   * Say of the chosen pictures that they are of a class.
   * @param {string} name
   * @param {boolean} isNew
   * @param {Picture[]} [pictures]
   */
  label(name, isNew, pictures) {
    const { panel } = this.app;
    const mayBeNew = isNew || panel.named.has(name);
    if (this.decide((picture) => this.rules.label(picture, name, mayBeNew), pictures) && isNew) panel.join(name);
  }

  /**
   * Decide on the chosen pictures: they go, and the next takes their place.
   * @param {(picture: Picture) => Decision | null} rule
   * @param {Picture[]} [pictures]
   */
  decide(rule, pictures = this.board.targets) {
    /** @type {Decision[]} */
    const decisions = [];
    const decided = [];
    for (const picture of pictures) {
      const decision = rule(picture);
      if (!decision) continue;
      decisions.push({ ...decision, id: picture.number, version: picture.version });
      decided.push(picture);
    }
    if (!decisions.length) {
      if (pictures.length) announce(t("There is nothing to accept here"));
      return false;
    }
    const places = this.board.take(decided.map((picture) => picture.id));
    this.app.decided({ deck: this, decisions, pictures: decided, places });
    return true;
  }

  /**
   * Pictures that somebody else has dealt with, or that have changed.
   * @param {string[]} ids
   */
  drop(ids) {
    const here = ids.filter((id) => this.board.has(id));
    if (here.length) this.board.take(here);
    this.board.forget(here);
  }

  #back() {
    if (this.large.isOpen) this.open(false);
    else this.board.chooseNone();
  }

  /** Show what the current picture and the choice are, and what Enter would do. */
  refresh() {
    const { targets, picture } = this.board;
    if (this.large.isOpen) this.large.show(picture, this.board.following(AHEAD));
    if (!this.large.isOpen) {
      document.body.classList.remove("shows-large");
      this.app.panel.showLarge(false);
    }
    const names = new Set(targets.map(this.rules.proposed));
    const [name] = names.size === 1 ? names : [null];
    const possible = targets.some((one) => this.rules.accept(one) !== null);
    this.app.panel.propose(name, this.rules.acceptance(name), possible);
    const count = this.board.chosen.size;
    this.app.count(count ? tn("{count} image selected", "{count} images selected", count) : "");
  }

  /** @param {Picture} picture */
  #tile(picture) {
    const image = el("img", { src: thumbnail(picture, 256), alt: "", decoding: "async", draggable: "false" });
    image.addEventListener("error", () => image.parentElement?.classList.add("is-unreadable"));
    const proposed = this.rules.proposed(picture);
    const tile = el(
      "li",
      {
        role: "option",
        tabindex: "-1",
        "aria-selected": "false",
        class: "tile",
        draggable: "true",
        title: picture.name,
        ondragstart: (/** @type {DragEvent} */ event) => this.#dragged(event, picture),
      },
      el("span", { class: "picture" }, image),
      el(
        "span",
        { class: "caption" },
        el("bdi", { class: "proposed" }, proposed ?? picture.folder ?? t("unknown")),
        picture.confidence !== null && el("span", { class: "sure" }, percent(picture.confidence)),
      ),
      el("bdi", { class: "name" }, picture.name),
      picture.note !== undefined && el("span", { class: "note" }, picture.note ?? ""),
    );
    return tile;
  }

  /**
   * @param {DragEvent} event
   * @param {Picture} picture
   */
  #dragged(event, picture) {
    const chosen = this.board.targets;
    const drawn = chosen.includes(picture) ? chosen : [picture];
    event.dataTransfer?.setData("application/x-imagesortd", JSON.stringify(drawn.map((one) => one.id)));
  }
}
