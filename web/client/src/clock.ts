/** Far more than the two clocks differ for any other reason. */
const SLEEP_MS = 1000

/**
 * Milliseconds that never go back and leave nothing out: `Date.now` is set back at times, `performance.now` stops in some
 * browsers while the machine sleeps.
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
