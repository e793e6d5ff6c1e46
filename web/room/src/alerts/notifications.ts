/** Notifications of the system, while the tab is in the background. */

import { memory } from "../memory"

const LONGEST = 200

/** Whether the browser has them, and the user and the browser allow them. */
export function notificationState(): "impossible" | "off" | "on" | "refused" {
  if (!("Notification" in window)) return "impossible"
  if (Notification.permission === "denied") return "refused"
  return memory.notifications.get() !== null && Notification.permission === "granted" ? "on" : "off"
}

/** Call it in the handler of a press: browsers ask the user only then. */
export async function turnOn(): Promise<void> {
  if ((await Notification.requestPermission()) === "granted") memory.notifications.set("on")
}

export function turnOff(): void {
  memory.notifications.set(null)
}

/** Notify the user if the tab is hidden. Of notifications with the same `tag`, also of other tabs, one is shown. */
export function notify(title: string, text: string, tag: string): void {
  if (document.visibilityState === "visible" || notificationState() !== "on") return
  try {
    const notification = new Notification(title, { body: [...text].slice(0, LONGEST).join(""), tag })
    notification.onclick = () => {
      window.focus()
      notification.close()
    }
  } catch (error) {
    // Browsers of phones allow them only to service workers.
    console.info("no notification:", error)
  }
}
