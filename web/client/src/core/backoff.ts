export interface BackoffOptions {
  baseMs?: number
  capMs?: number
}

/**
 * Return a random wait in milliseconds, with full jitter: all waits up to the bound are equally likely. The jitter is
 * applied after the cap. Before it, clients that have failed often would all wait for the cap and come together.
 */
export function backoff(failures: number, { baseMs = 500, capMs = 20_000 }: BackoffOptions = {}): number {
  return Math.random() * Math.min(capMs, baseMs * 2 ** failures)
}
