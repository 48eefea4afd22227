/** Fetch pages one after another, one at a time. */

/** @typedef {{images: any[], next: number | null}} Page */

export class Paged {
  /**
   * @param {(after: number | null) => Promise<Page>} fetch
   * @param {(page: any) => void | Promise<void>} arrived
   */
  constructor(fetch, arrived) {
    this.fetch = fetch;
    this.arrived = arrived;
    /** @type {number | null} */
    this.after = null;
    this.isAtEnd = false;
    /** @type {Promise<void> | null} */
    this.running = null;
  }

  /** Fetch the next page; twice at once is once. */
  more() {
    if (this.isAtEnd) return Promise.resolve();
    this.running ??= this.#next().finally(() => {
      this.running = null;
    });
    return this.running;
  }

  /** Fetch all that is left. */
  async all() {
    while (!this.isAtEnd) await this.more();
  }

  async #next() {
    const page = await this.fetch(this.after);
    this.after = page.next;
    this.isAtEnd = page.next === null;
    await this.arrived(page);
  }
}
