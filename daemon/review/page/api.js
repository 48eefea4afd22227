/** Ask the server. */

/** What all addresses begin with. */
export const PREFIX = document.documentElement.dataset.prefix ?? "";

/** The server said no; the message is a sentence for people. */
export class Refused extends Error {
  /**
   * @param {string} sentence
   * @param {number} status
   */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Nobody answered, or not now: ask again later. */
export class Away extends Error {}

/**
 * @param {string} name
 * @param {Record<string, string | number | null | undefined>} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export function get(name, parameters = {}, signal) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined) query.set(key, String(value));
  }
  return ask(`${PREFIX}/api/${name}${query.size ? `?${query}` : ""}`, { signal });
}

/**
 * @param {string} name
 * @param {object} body
 * @returns {Promise<any>}
 */
export function post(name, body) {
  return ask(`${PREFIX}/api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

/**
 * @param {string} address
 * @param {RequestInit} options
 */
async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, { credentials: "same-origin", cache: "no-store", redirect: "error", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Away();
  }
  if (response.status === 429 || response.status >= 500) throw new Away();
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw response.ok ? new Away() : new Refused(response.statusText, response.status);
  }
  if (!response.ok) throw new Refused(answer.sentence ?? response.statusText, response.status);
  return answer;
}
