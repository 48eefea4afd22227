/** The page: its views, the classes, what has been decided and what waits. */

import { announce } from "./announce.js";
import { get } from "./api.js";
import { follow } from "./changes.js";
import { ClassPanel } from "./class_panel.js";
import { Decisions } from "./decisions.js";
import { el, fill, find } from "./dom.js";
import { toggleHelp } from "./help.js";
import { isForElement, read } from "./keys.js";
import { learnt, sentenceOf } from "./said.js";
import { t, tn } from "./texts.js";
import { VIEWS } from "./views.js";

/** @typedef {import("./deck.js").Deck} Deck */
/** @typedef {import("./types.js").Picture} Picture */
/** @typedef {import("./types.js").Decision} Decision */
/** @typedef {import("./board.js").Place} Place */
/** @typedef {{deck: Deck, address: string, decisions: Decision[], all: string[], keys: string[], pictures: Picture[], places: Place[]}} Step what was decided at once; `keys`: those of `all` that were not refused */
/** @typedef {{step: Step, index: number, isBack: boolean}} Made a decision on a picture of a step, or its being taken back */

/** Waiting is only spoken of when it lasts. */
const PATIENCE_MS = 800;
const STEPS = 500;
/** Classes are asked for again this long after something has changed. */
const CLASSES_MS = 3000;

export class App {
  /** @param {any} session */
  constructor(session) {
    this.session = session;
    /** @type {Step[]} what can be taken back, the last one last */
    this.steps = [];
    /** @type {Map<string, Made>} by the key */
    this.made = new Map();
    /** @type {Set<string>} images that were decided on here */
    this.mine = new Set();
    /** @type {Set<string>} those of them whose decisions were not taken back */
    this.gone = new Set();
    /** @type {string | null} the run in use */
    this.model = session.model;
    this.away = "";
    this.trouble = "";
    /** What the view is of, however its address is written. */
    this.address = "";
    this.panel = new ClassPanel({
      place: session.output,
      picked: (name, isNew) => this.view?.deck?.label(name, isNew),
      pressed: (command) => this.command(command, false),
      dropped: (name, ids) => this.#dropped(name, ids),
    });
    this.decisions = new Decisions({
      most: session.most_decisions,
      settled: (state) => this.#settled(state),
      changed: () => this.#showWaiting(),
      asking: () => this.changes?.again(),
    });
    /** @type {any} */
    this.view = null;
  }

  /** @param {import("./class_panel.js").Class[]} classes */
  start(classes) {
    find("#panel").replaceWith(this.panel.element);
    this.panel.use(classes);
    this.changes = follow(this.session.revision, {
      keys: () => this.decisions.asked,
      heard: (changes) => this.#heard(changes),
      answered: (trouble) => this.#answered(trouble),
    });
    addEventListener("hashchange", () => this.show());
    document.addEventListener("keydown", (event) => this.#pressed(event));
    addEventListener("beforeunload", (event) => {
      if (this.decisions.unsent.length) event.preventDefault();
    });
    find("#help-button").addEventListener("click", () => toggleHelp());
    this.show();
  }

  /** Show the view that the address names. */
  show() {
    const [name, rest] = location.hash.slice(1).split("/", 2);
    const index = Math.max(VIEWS.findIndex((view) => view.id === name), 0);
    this.view?.close?.();
    document.body.classList.remove("shows-large");
    for (const link of document.querySelectorAll("#views a")) {
      const isCurrent = link.getAttribute("href") === `#${VIEWS[index].id}`;
      if (isCurrent) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      if (isCurrent) link.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    document.body.dataset.view = VIEWS[index].id;
    this.address = `${VIEWS[index].id}/${rest ?? ""}`;
    this.view = VIEWS[index].make(this, decodeURIComponent(rest ?? ""));
    document.title = `${VIEWS[index].title()} – imagesortd`;
    document.body.toggleAttribute("data-plain", !this.view.deck);
    this.count("");
    this.view.deck?.refresh();
    fill(find("#view"), this.view.element);
    scrollTo(0, 0);
    this.view.open().catch((/** @type {Error} */ error) => this.failed(error));
  }

  /**
   * Take over what has been decided in a view.
   * @param {{deck: Deck, decisions: Decision[], pictures: Picture[], places: Place[]}} step
   */
  decided({ deck, decisions, pictures, places }) {
    const keys = this.decisions.add(decisions);
    const step = { deck, address: this.address, decisions, all: keys, keys, pictures, places };
    keys.forEach((key, index) => this.made.set(key, { step, index, isBack: false }));
    for (const { id } of pictures) {
      this.mine.add(id);
      this.gone.add(id);
    }
    this.steps.push(step);
    if (this.steps.length > STEPS) this.steps.shift();
    this.#say(sentenceOf(decisions));
    this.view.decided?.(pictures, decisions);
  }

  undo() {
    const step = this.steps.pop();
    if (!step) return announce(t("There is nothing to undo"));
    const indices = step.keys.map((key) => step.all.indexOf(key));
    this.decisions.takeBack(step.keys).forEach((key, place) => {
      this.made.set(key, { step, index: indices[place], isBack: true });
    });
    for (const key of step.keys) this.made.delete(key);
    this.#bringBack(step, indices);
    this.#say([tn("{count} decision taken back", "{count} decisions taken back", step.keys.length)]);
  }

  /**
   * Show pictures of a step again: where they were, or in the same view, which was made anew since.
   * @param {Step} step
   * @param {number[]} indices
   */
  #bringBack(step, indices) {
    const pictures = indices.map((index) => step.pictures[index]);
    for (const { id } of pictures) this.gone.delete(id);
    const ids = new Set(pictures.map(({ id }) => id));
    const isSame = step.deck === this.view.deck;
    if (!isSame && (step.address !== this.address || this.view.refills)) return;
    if (isSame) step.deck.board.restore(step.places.filter(({ id }) => ids.has(id)));
    else this.view.deck?.board.bring(pictures, document.title);
    this.view.restored?.(pictures);
  }

  /**
   * @param {string} name
   * @param {boolean} extend
   * @returns {boolean} whether it meant something
   */
  command(name, extend) {
    if (name === "undo") this.undo();
    else if (name === "help") toggleHelp();
    else if (name === "find" && this.view.deck) this.panel.ask();
    else if (name === "previous-view") this.#turn(-1);
    else if (name === "next-view") this.#turn(1);
    else if (name === "back" && toggleHelp(false)) return true;
    else return Boolean(this.view.deck?.command(name, extend));
    return true;
  }

  /**
   * Show how many pictures are chosen.
   * @param {string} says
   */
  count(says) {
    find("#chosen").textContent = says;
  }

  /**
   * Show a sentence until it is dismissed or another one comes.
   * @param {string} says
   * @param {{isGood?: boolean}} [how] it is
   */
  notice(says, { isGood = false } = {}) {
    find("#notice").classList.toggle("is-good", isGood);
    const close = el("button", { class: "quiet", "aria-label": t("Dismiss"), onclick: () => fill(find("#notice")) }, "×");
    fill(find("#notice"), el("p", { class: "sentence" }, says), close);
  }

  /**
   * Say why something could not be done.
   * @param {unknown} error
   */
  failed(error) {
    this.notice((error instanceof Error && error.message) || t("The server does not answer."));
  }

  /** @param {(Node | string)[]} sentence */
  #say(sentence) {
    this.panel.say(sentence);
    announce(this.panel.last.textContent ?? "");
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.defaultPrevented || event.isComposing || isForElement(event)) return;
    const press = read(event);
    if (!press) return;
    const meant = press.kind === "class" ? this.view.deck?.press(press) : this.command(press.name, press.extend);
    if (meant) event.preventDefault();
  }

  /** @param {number} way */
  #turn(way) {
    const index = VIEWS.findIndex((view) => view.id === document.body.dataset.view);
    location.hash = VIEWS[(index + way + VIEWS.length) % VIEWS.length].id;
  }

  /**
   * @param {string} name
   * @param {string[]} ids
   */
  #dropped(name, ids) {
    const deck = this.view?.deck;
    deck?.label(name, false, ids.filter((id) => deck.board.has(id)).map((id) => deck.board.pictures.get(id)));
  }

  /** @param {{key: string, state: string, says: string}} state */
  #settled({ key, state, says }) {
    const made = this.made.get(key);
    this.made.delete(key);
    if (state === "refused") this.#refused(key, says, made);
    else this.view?.settled?.(key);
  }

  /**
   * Put a picture back that could not be decided on; or take one off again whose decision could not be taken back.
   * @param {string} key
   * @param {string} says
   * @param {Made | undefined} made
   */
  #refused(key, says, made) {
    this.notice(says);
    if (!made) return;
    const { step, index, isBack } = made;
    const picture = step.pictures[index];
    if (isBack) {
      this.gone.add(picture.id);
      if (!this.view.deck?.board.has(picture.id)) return;
      this.view.deck.board.take([picture.id]);
      this.view.decided?.([picture], [step.decisions[index]]);
      return;
    }
    step.keys = step.keys.filter((one) => one !== key);
    if (step.decisions[index].new) this.#classRefused(step.decisions[index].to);
    this.#bringBack(step, [index]);
  }

  /**
   * A class that was named here cannot be: it goes from the panel, unless there is one.
   * @param {string} name
   */
  #classRefused(name) {
    this.panel.named.delete(name);
    this.#lookAtClasses(0);
  }

  /**
   * Other pages and people make classes, and images are filed: show what there is, in a while.
   * @param {number} wait
   */
  #lookAtClasses(wait) {
    if (wait && this.looking) return;
    clearTimeout(this.looking);
    this.looking = setTimeout(async () => {
      const answer = await get("classes").catch(() => null);
      this.looking = undefined;
      if (answer) this.panel.renew(answer.classes);
    }, wait);
  }

  /** @param {any} changes */
  #heard(changes) {
    this.trouble = changes.trouble ?? "";
    this.decisions.hear(changes.decisions);
    const gone = changes.decided.map(String).filter((/** @type {string} */ id) => !this.mine.has(id));
    this.view?.deck?.drop(gone);
    this.view?.heard?.(changes);
    this.#lookAtClasses(CLASSES_MS);
    this.#showWaiting();
    if (changes.model !== undefined && changes.model !== this.model) void this.#learnt(changes.model);
  }

  /**
   * Another model is in use: where it has learnt something, say how much better it is.
   * @param {string | null} model
   */
  async #learnt(model) {
    this.model = model;
    const state = await get("model").catch(() => null);
    if (state?.run === null || !state?.lineage[0]?.is_in_use) return;
    const says = learnt(state.lesson);
    if (says) this.notice(says, { isGood: true });
  }

  /** @param {string | null} trouble why the server does not answer; a sentence of it, if it has one */
  #answered(trouble) {
    const says = trouble === null ? "" : trouble || t("The server does not answer.");
    if (this.away === says) return;
    this.away = says;
    this.#showWaiting();
  }

  #showWaiting() {
    clearTimeout(this.timer);
    const isCalm = !this.decisions?.count && !this.away;
    this.timer = setTimeout(() => this.#drawWaiting(), isCalm ? 0 : PATIENCE_MS);
  }

  #drawWaiting() {
    const count = this.decisions.count;
    const waiting = count ? tn("Waiting: {count} decision", "Waiting: {count} decisions", count) : "";
    const why = this.away || (count ? this.trouble : "");
    find("#state").textContent = [waiting, why].filter(Boolean).join(" · ");
  }
}
