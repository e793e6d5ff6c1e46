export interface BackoffOptions {
  baseMs?: number
  capMs?: number
}

/**
 * Full jitter: any wait up to the bound is as likely as any other. It is applied after the cap; before it, clients that
 * have failed often would all wait the cap and come together.
 */
export function backoff(
  failures: number,
  { baseMs = 500, capMs = 20_000 }: BackoffOptions = {},
  random = Math.random,
): number {
  return random() * Math.min(capMs, baseMs * 2 ** failures)
}
