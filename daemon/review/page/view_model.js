/** The model in use: how good it is, what it confuses, where it comes from, and what can be done with it. */

import { get, post } from "./api.js";
import { bdi, el, fill } from "./dom.js";
import { matrix } from "./matrix.js";
import { Paged } from "./paged.js";
import { nodes, percent, t, time } from "./texts.js";
import { thumbnail } from "./types.js";

const AGAIN_MS = 1000;

export class Model {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.deck = null;
    this.tools = el("p", { class: "tools" });
    this.facts = el("div", { class: "facts" });
    this.matrix = el("div", {});
    this.cell = el("div", { "aria-live": "polite" });
    this.doubts = el("div", {});
    this.lineage = el("div", {});
    this.element = el("div", { class: "view" },
      el("div", { class: "head" }, el("h2", {}, t("Model")), this.tools),
      this.facts, this.matrix, this.cell, this.doubts, this.lineage);
  }

  async open() {
    this.#draw(await get("model"));
  }

  close() {
    clearTimeout(this.timer);
  }

  /** @param {any} state */
  #draw(state) {
    const isBusy = state.task?.state === "running";
    fill(this.tools,
      state.run !== null && el("span", {}, bdi(state.run)),
      el("button", { class: "action", disabled: isBusy, onclick: () => void this.#start({ task: "learn" }) }, t("Learn now")),
      state.task && el("span", { role: "status", class: state.task.state === "failed" ? "broken" : "note" }, state.task.says));
    this.#drawFacts(state);
    fill(this.matrix, state.classes.length > 0 && el("h3", {}, t("What it confuses")),
      state.classes.length > 0 && matrix(state.classes, state.matrix, (actual, predicted) => void this.#show(actual, predicted)));
    fill(this.doubts, state.likely_wrong.length > 0 && el("h3", {}, t("Labels that may be wrong")),
      state.likely_wrong.length > 0 && el("ul", { class: "tiles is-fixed" }, ...state.likely_wrong.map(doubt)));
    fill(this.lineage, state.lineage.length > 0 && el("h3", {}, t("Where it comes from")),
      el("ol", { class: "lineage" }, ...state.lineage.map((/** @type {any} */ one) => this.#ancestor(one, isBusy))));
    clearTimeout(this.timer);
    if (isBusy) this.timer = setTimeout(() => void this.#look(), AGAIN_MS);
  }

  async #look() {
    const state = await get("model").catch(() => null);
    if (state) this.#draw(state);
    else this.timer = setTimeout(() => void this.#look(), AGAIN_MS);
  }

  /** @param {any} state */
  #drawFacts({ accuracy, lesson, says }) {
    fill(this.facts,
      accuracy !== null && fact(percent(accuracy), t("right, of images that it never learnt from")),
      lesson && lesson.before !== null && lesson.after !== null &&
        fact(`${percent(lesson.before)} → ${percent(lesson.after)}`, t("before and after the last lesson")),
      lesson?.says && el("p", { class: "note" }, lesson.says),
      says && el("p", { class: "note" }, says));
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

  /**
   * Show the pictures behind a cell.
   * @param {string} actual
   * @param {string} predicted
   */
  async #show(actual, predicted) {
    const list = el("ul", { class: "tiles is-fixed" });
    const more = el("button", { class: "link", onclick: () => void pages.more() }, t("Show more"));
    const pages = new Paged(
      (after) => get("model/cell", { actual, predicted, after, limit: 60 }),
      (page) => {
        list.append(...page.images.map(learnt));
        more.hidden = pages.isAtEnd;
      },
    );
    const title = el("h3", { tabindex: "-1" }, ...nodes("Is {actual}, taken for {predicted}", { actual, predicted }));
    fill(this.cell, title, list, more);
    await pages.more().catch((/** @type {Error} */ error) => this.app.failed(error));
    title.focus();
  }
}

/**
 * @param {string} figure
 * @param {string} says
 */
function fact(figure, says) {
  return el("p", { class: "fact" }, el("strong", {}, figure), el("span", {}, says));
}

/** @param {any} image of the data set */
function learnt(image) {
  return tile(image, [el("span", { class: "caption" }, bdi(image.predicted, { class: "proposed" }), image.confidence !== null && el("span", { class: "sure" }, percent(image.confidence)))]);
}

/** @param {any} image of the data set whose label may be wrong */
function doubt(image) {
  const advised = image.advised ?? image.predicted;
  return tile(image, [
    el("span", { class: "caption" }, el("span", { class: "proposed" }, ...nodes("{actual}, or {advised}?", { actual: image.actual, advised }))),
    image.advice && el("span", { class: "note" }, image.advice),
  ]);
}

/**
 * @param {any} image
 * @param {(Node | string | null | false)[]} captions
 */
function tile(image, captions) {
  const source = thumbnail(/** @type {any} */ ({ path: `learnt/${image.number}`, version: "" }), 256);
  const shown = el("img", { src: source, alt: image.name, loading: "lazy", decoding: "async" });
  shown.addEventListener("error", () => shown.parentElement?.classList.add("is-unreadable"));
  return el("li", { class: "tile", title: image.name },
    el("span", { class: "picture" }, shown), ...captions, bdi(image.name, { class: "name" }));
}
