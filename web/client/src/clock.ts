/** The least difference between the two clocks that only sleep explains. */
const SLEEP_MS = 1000

/**
 * Make a clock in milliseconds that never goes back and counts sleep. `Date.now` is sometimes set back, and
 * `performance.now` stops in some browsers while the machine sleeps.
 */
export function steadyClock(date: () => number = Date.now, uptime = () => performance.now()): () => number {
  let [lastDate, lastUptime, elapsed] = [date(), uptime(), 0]
  return () => {
    const [nowDate, nowUptime] = [date(), uptime()]
    const awake = nowUptime - lastUptime
    const asleep = nowDate - lastDate - awake
    elapsed += awake + (asleep > SLEEP_MS ? asleep : 0)
    lastDate = nowDate
    lastUptime = nowUptime
    return elapsed
  }
}
