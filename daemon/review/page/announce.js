/** Say to a screen reader what has been done. */

import { find } from "./dom.js";

let timer = 0;

/**
 * Say a sentence; of several at once only the last.
 * @param {string} sentence
 */
export function announce(sentence) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    find("#said").textContent = sentence;
  }, 80);
}
