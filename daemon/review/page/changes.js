/** Hear what changes: one long question after another. */

import { Away, get, Refused } from "./api.js";

const AGAIN_MS = 1000;

/**
 * Ask for changes for as long as the page is open.
 * @param {number} revision
 * @param {object} wishes
 * @param {() => string[]} wishes.keys of the decisions to ask about
 * @param {(changes: any) => void} wishes.heard
 * @param {(trouble: string | null) => void} wishes.answered with why there is no answer
 * @returns {{again: () => void}} asks at once, for what the keys are now
 */
export function follow(revision, { keys, heard, answered }) {
  let since = revision;
  let known = "";
  let current = new AbortController();
  /** @param {AbortSignal} signal */
  const ask = async (signal) => {
    const asked = keys().join(",");
    // What has changed of new keys may have been told before they were asked about: then ask what is so by now.
    const from = asked === known ? since : Math.max(since - 1, 0);
    const changes = await get("changes", { since: from, keys: asked || null }, signal);
    [since, known] = [changes.revision, asked];
    answered(null);
    heard(changes);
  };
  const loop = async () => {
    for (;;) {
      current = new AbortController();
      try {
        await ask(current.signal);
      } catch (error) {
        if (error instanceof Away || error instanceof Refused) {
          answered(error.message);
          await new Promise((done) => setTimeout(done, AGAIN_MS));
        } else if (!(error instanceof DOMException)) throw error;
      }
    }
  };
  void loop();
  return { again: () => current.abort() };
}
