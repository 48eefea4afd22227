/**
 * Decisions on their way to the server: in batches, in order, each by a key of its own, so that sending one again does
 * nothing new. What has not been carried out outlives a reload of the page, and a restart of the server.
 */

import { Away, post, PREFIX, Refused } from "./api.js";

/** @typedef {import("./types.js").Decision} Decision */
/** @typedef {{key: string, state: "waiting" | "done" | "refused" | "unknown", says: string, can_take_back: boolean}} State */

const STORE = `imagesortd decisions ${PREFIX}`;
/** What is decided within this time goes together; and while a batch is under way or has just been, what follows it. */
const [GATHER_MS, NEXT_MS] = [40, 200];
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [500, 5000];
/** Keys that are asked about at once: they are in the address. */
const MOST_ASKED = 80;

export class Decisions {
  /**
   * @param {object} wishes
   * @param {number} wishes.most decisions of a batch
   * @param {(state: State) => void} wishes.settled a decision is done or refused
   * @param {() => void} wishes.changed how many wait is another number
   * @param {() => void} wishes.asking there are decisions to ask about that were not asked about before
   */
  constructor({ most, settled, changed, asking }) {
    this.most = most;
    this.settled = settled;
    this.changed = changed;
    this.asking = asking;
    /** @type {Decision[]} not known to have arrived */
    this.unsent = JSON.parse(sessionStorage.getItem(STORE) ?? "[]");
    /** @type {Map<string, Decision>} arrived, and waiting for a daemon */
    this.waiting = new Map();
    this.isAway = false;
    this.isSending = false;
    this.pause = FIRST_PAUSE_MS;
    if (this.unsent.length) this.#later(0);
  }

  /**
   * @param {Decision[]} decisions
   * @returns {string[]} their keys
   */
  add(decisions) {
    const keyed = decisions.map((decision) => ({ key: newKey(), ...decision }));
    this.unsent.push(...keyed);
    this.#keep();
    this.#later(GATHER_MS);
    return keyed.map((decision) => decision.key);
  }

  /**
   * Take decisions back, whether they have arrived or not.
   * @param {string[]} keys
   */
  takeBack(keys) {
    return this.add(keys.map((of) => ({ kind: "take-back", of })));
  }

  /** How many have not been carried out. */
  get count() {
    return this.unsent.length + this.waiting.size;
  }

  /** The keys of decisions that wait, to ask about. */
  get asked() {
    return [...this.waiting.keys()].slice(0, MOST_ASKED);
  }

  /**
   * Take over what the server says about decisions.
   * @param {State[]} states
   * @param {Decision[]} [batch] those that have just arrived
   */
  hear(states, batch = []) {
    const arrived = new Map(batch.map((decision) => [decision.key, decision]));
    if (states.some(({ key, state }) => state === "unknown" && this.waiting.has(key))) this.#sendAgain();
    let isNew = false;
    for (const state of states) {
      const decision = arrived.get(state.key);
      if (state.state === "waiting" && decision) {
        isNew = true;
        this.waiting.set(state.key, decision);
      } else if (state.state === "done" || state.state === "refused") {
        this.waiting.delete(state.key);
        this.settled(state);
      }
    }
    if (isNew) this.asking();
    this.#keep();
  }

  /** The server was restarted, and has lost what it had not done: all of it is sent again, in its order. */
  #sendAgain() {
    this.unsent.unshift(...this.waiting.values());
    this.waiting.clear();
    this.#later(0);
  }

  /** @param {number} wait */
  #later(wait) {
    if (this.isSending) return;
    this.isSending = true;
    setTimeout(() => this.#send(), wait);
  }

  async #send() {
    const batch = this.unsent.slice(0, this.most);
    try {
      const answer = await post("decisions", { decisions: batch });
      this.#arrived(batch);
      this.hear(answer.decisions, batch);
    } catch (error) {
      if (error instanceof Away || (error instanceof Refused && error.status === 401)) this.#isNotThere();
      else if (error instanceof Refused) this.#refused(batch, error.message);
      else throw error;
    }
    this.isSending = false;
    const next = this.unsent.length < this.most ? NEXT_MS : 0;
    if (this.unsent.length) this.#later(this.isAway ? this.pause : next);
  }

  #isNotThere() {
    this.pause = this.isAway ? Math.min(2 * this.pause, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
    this.isAway = true;
    this.changed();
  }

  /** @param {Decision[]} batch */
  #arrived(batch) {
    this.isAway = false;
    const sent = new Set(batch.map((decision) => decision.key));
    this.unsent = this.unsent.filter((decision) => !sent.has(decision.key));
    this.#keep();
  }

  /**
   * @param {Decision[]} batch
   * @param {string} says
   */
  #refused(batch, says) {
    this.#arrived(batch);
    this.hear(batch.map(({ key }) => ({ key, state: "refused", says, can_take_back: false })));
  }

  #keep() {
    try {
      sessionStorage.setItem(STORE, JSON.stringify([...this.waiting.values(), ...this.unsent]));
    } catch {
      // There is no room for so many: they are still sent, but would not outlive a reload.
    }
    this.changed();
  }
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}
