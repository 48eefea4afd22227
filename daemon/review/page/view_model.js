/**
 * The model in use: how good it is, what it confuses, where it comes from, and what can be done with it. The labels of
 * its data set are put right here: those that may be wrong are on the board, or the pictures behind a mistake.
 */

import { get, post } from "./api.js";
import { Deck } from "./deck.js";
import { bdi, el, fill } from "./dom.js";
import { matrix } from "./matrix.js";
import { Paged } from "./paged.js";
import { labelling } from "./rules.js";
import { nodes, percent, t, time } from "./texts.js";

const AGAIN_MS = 1000;

export class Model {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.deck = new Deck(app, rules(), () => void this.pages?.more());
    this.tools = el("p", { class: "tools" });
    this.facts = el("div", { class: "facts" });
    this.matrix = el("div", {});
    this.heading = el("div", { class: "heading" });
    /** @type {import("./section.js").Section | null} */
    this.section = null;
    /** @type {Paged | null} */
    this.pages = null;
    this.isCell = false;
    /** What is taken back comes with the next answer of the server. */
    this.refills = true;
    /** @type {any[]} */
    this.likelyWrong = [];
    /** @type {number | undefined} */
    this.timer = undefined;
    this.lineage = el("div", {});
    // On a narrow screen the classes would only be in the way of what is read here.
    this.watcher = new IntersectionObserver(
      (entries) => document.body.toggleAttribute("data-board-away", !entries[entries.length - 1].isIntersecting),
      { rootMargin: "0px 0px -35% 0px" },
    );
    this.watcher.observe(this.deck.element);
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, t("Model")), this.tools),
      this.facts, this.matrix, this.heading, this.deck.element, this.lineage);
  }

  async open() {
    this.#draw(await get("model"));
  }

  close() {
    this.watcher.disconnect();
    document.body.removeAttribute("data-board-away");
    this.deck.close();
    clearTimeout(this.timer);
  }

  decided() {
    this.#showBoard();
  }

  restored() {
    this.#showBoard();
  }

  /** Somebody else has put labels right, or another model is in use. */
  heard() {
    this.timer ??= setTimeout(() => void this.#look(), AGAIN_MS);
  }

  /** @param {any} state */
  #draw(state) {
    const isBusy = state.task?.state === "running";
    fill(this.tools,
      state.run !== null && el("span", {}, bdi(state.run)),
      el("button", { class: "action", disabled: isBusy, onclick: () => void this.#start({ task: "learn" }) }, t("Learn now")),
      state.task && el("span", { role: "status", class: state.task.state === "failed" ? "broken" : "note" }, state.task.says));
    this.#drawFacts(state);
    fill(this.matrix, state.classes.length > 0 && el("h3", {}, state.is_excerpt ? t("The classes that it confuses most") : t("What it confuses")),
      state.classes.length > 0 && matrix(state.classes, state.matrix, (actual, predicted) => void this.#show(actual, predicted)));
    this.likelyWrong = state.likely_wrong;
    if (!this.isCell) this.#showDoubts();
    fill(this.lineage, state.lineage.length > 0 && el("h3", {}, t("Where it comes from")),
      el("ol", { class: "lineage" }, ...state.lineage.map((/** @type {any} */ one) => this.#ancestor(one, isBusy))));
    if (isBusy) this.heard();
  }

  async #look() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const state = await get("model").catch(() => null);
    if (state) this.#draw(state);
    else this.heard();
  }

  /** @param {any} state */
  #drawFacts({ accuracy, lesson, says, threshold, inner_folders }) {
    fill(this.facts,
      accuracy !== null && fact(percent(accuracy), t("right, of images that it never learned from")),
      lesson && lesson.before !== null && lesson.after !== null &&
        fact(`${percent(lesson.before)} → ${percent(lesson.after)}`, t("before and after the last lesson")),
      lesson?.says && el("p", { class: "note sentence" }, lesson.says),
      says && el("p", { class: "note sentence" }, says),
      threshold && el("p", { class: "note" }, threshold),
      ...inner_folders.map((/** @type {string} */ one) => el("p", { class: "note" }, one)));
  }

  /** @param {object} task */
  async #start(task) {
    try {
      await post("model/task", task);
    } catch (error) {
      this.app.failed(error);
    }
    await this.#look();
  }

  /**
   * @param {any} one
   * @param {boolean} isBusy
   */
  #ancestor(one, isBusy) {
    return el("li", {},
      bdi(one.run, { class: "name" }),
      one.time && el("span", { class: "note" }, time(one.time)),
      one.is_in_use && el("strong", {}, t("in use")),
      one.can_roll_back && !one.is_in_use &&
        el("button", { class: "link", disabled: isBusy, onclick: () => void this.#start({ task: "roll-back", run: one.run }) }, t("Go back to this one")));
  }

  /** Show the labels that may be wrong; those that are shown already stay. */
  #showDoubts() {
    if (this.isCell || !this.section) this.#begin(t("Labels that may be wrong"));
    this.isCell = false;
    fill(this.heading, el("h3", {}, t("Labels that may be wrong")),
      el("p", { class: "note" }, t("Accept the advice, or give the label: the files stay where they lie, and the next lesson learns what you say.")));
    const known = new Set(this.likelyWrong.map((/** @type {any} */ one) => idOf(one)));
    this.deck.drop([...this.deck.board.pictures.keys()].filter((id) => !known.has(id)));
    this.#add(this.likelyWrong);
    this.#showBoard();
  }

  /**
   * Show the pictures behind a cell.
   * @param {string} actual
   * @param {string} predicted
   */
  async #show(actual, predicted) {
    this.isCell = true;
    this.#begin(t("Is {actual}, taken for {predicted}", { actual, predicted }));
    const title = el("h3", { tabindex: "-1" }, ...nodes("Is {actual}, taken for {predicted}", { actual, predicted }));
    const back = el("button", { class: "link", onclick: () => this.#showDoubts() }, t("Labels that may be wrong"));
    fill(this.heading, title, this.likelyWrong.length > 0 && back);
    const { section } = this;
    this.pages = new Paged(
      (after) => get("model/cell", { actual, predicted, after, limit: 60 }),
      (page) => {
        if (section === this.section) this.#add(page.images); // else others are shown by now
      },
    );
    await this.pages.more().catch((/** @type {Error} */ error) => this.app.failed(error));
    this.#showBoard();
    title.focus();
  }

  /** @param {string} label */
  #begin(label) {
    const { board } = this.deck;
    board.clear();
    this.pages = null;
    this.section = board.section(label);
  }

  /** @param {any[]} images */
  #add(images) {
    if (this.section) this.deck.board.add(this.section, images.map(picture));
  }

  /** Where there is nothing to decide, there are no classes to choose from. */
  #showBoard() {
    const isEmpty = this.deck.board.size === 0;
    this.heading.hidden = isEmpty && !this.isCell;
    document.body.toggleAttribute("data-plain", isEmpty);
  }
}

/** What Enter accepts is what the model sees. */
function rules() {
  return labelling({
    accept: (one) => ({ kind: "learnt", to: one.label }),
    label: (_one, to, isNew) => ({ kind: "learnt", to, new: isNew }),
    none: () => ({ kind: "learnt", to: null }),
    remove: () => null,
    caption: (one) => t("Is {actual}, taken for {predicted}", { actual: one.folder ?? "", predicted: one.label ?? "" }),
  });
}

/**
 * @param {string} figure
 * @param {string} says
 */
function fact(figure, says) {
  return el("p", { class: "fact" }, el("strong", {}, figure), el("span", {}, says));
}

/**
 * What tells an image of the data set from all others: of another run, another one has its number.
 * @param {any} image of the data set
 */
function idOf(image) {
  return `learnt-${image.number}-${image.version}`;
}

/**
 * @param {any} image of the data set
 * @returns {import("./types.js").Picture}
 */
function picture(image) {
  const isDoubt = image.advised !== null;
  return {
    id: idOf(image),
    number: image.number,
    version: image.version,
    name: image.name,
    folder: image.actual,
    label: image.advised ?? image.predicted,
    confidence: image.confidence,
    time: "",
    waiting: null,
    path: `learnt/${image.number}`,
    note: isDoubt ? t("{actual}, or {advised}?", { actual: image.actual, advised: image.advised }) : said(image),
  };
}

/** @param {any} image of the data set */
function said(image) {
  if (!image.is_labelled) return "";
  return image.said === null ? t("labelled: none of the classes") : t("labelled: {name}", { name: image.said });
}
