/**
 * Milliseconds that never go back and leave nothing out: `Date.now` is set back at times, `performance.now` stops in some
 * browsers while the machine sleeps.
 */
export function steadyClock(
  date: () => number = Date.now,
  uptime: () => number = () => performance.now(),
): () => number {
  let [lastDate, lastUptime, elapsed] = [date(), uptime(), 0]
  return () => {
    const [nowDate, nowUptime] = [date(), uptime()]
    elapsed += Math.max(0, nowDate - lastDate, nowUptime - lastUptime)
    lastDate = nowDate
    lastUptime = nowUptime
    return elapsed
  }
}
