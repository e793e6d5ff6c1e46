/** Loads the parts of the client that it otherwise loads when it needs them. */

/**
 * Call it when the page has nothing else to do. Then these parts are there even if the network is bad or your server has a
 * newer version of the page by the time that they are needed. Rejects with the error of the browser.
 */
export async function preload(): Promise<void> {
  await Promise.all([import("./archive.js"), import("./moves.js"), import("./refusal.js")])
}
