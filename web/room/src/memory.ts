/** What the browser remembers. Where it may not, as in some private windows, everything works but is forgotten. */

function read(store: () => Storage, key: string): string | null {
  try {
    return store().getItem(key)
  } catch {
    return null
  }
}

function write(store: () => Storage, key: string, value: string | null): void {
  try {
    if (value === null) store().removeItem(key)
    else store().setItem(key, value)
  } catch {
    // Then it is forgotten.
  }
}

function item(store: () => Storage, key: string) {
  return { get: () => read(store, key), set: (value: string | null) => write(store, key, value) }
}

const ofBrowser = () => localStorage
const ofTab = () => sessionStorage

export const memory = {
  name: item(ofBrowser, "studyroom.name"),
  emoji: item(ofBrowser, "studyroom.emoji"),
  theme: item(ofBrowser, "studyroom.theme"),
  /** Of this tab: a reload is the same person, a second window another one. */
  guestToken: item(ofTab, "studyroom.guest-token"),
  /** The room this tab is in, so that a reload goes straight back. */
  room: item(ofTab, "studyroom.room"),
  seat: item(ofTab, "studyroom.seat"),
}
