/** Values that the browser stores. Where it may not, as in some private windows, the page works but forgets them. */

type Place = () => Storage

/** Set in a tab in which the user chose to be someone else. */
const SOMEONE_ELSE = "studyroom.someone-else"

const ofBrowser: Place = () => localStorage
const ofTab: Place = () => sessionStorage
/** All tabs are the same person, except for a tab that says otherwise. */
const ofPerson: Place = () => (read(ofTab, SOMEONE_ELSE) === null ? localStorage : sessionStorage)

function read(place: Place, key: string): string | null {
  try {
    return place().getItem(key)
  } catch {
    return null
  }
}

function write(place: Place, key: string, value: string | null): void {
  try {
    if (value === null) place().removeItem(key)
    else place().setItem(key, value)
  } catch {
    // The value is forgotten.
  }
}

function item(place: Place, key: string) {
  return { key, get: () => read(place, key), set: (value: string | null) => write(place, key, value) }
}

export const memory = {
  name: item(ofPerson, "studyroom.name"),
  emoji: item(ofPerson, "studyroom.emoji"),
  /** The token by which the server recognises a guest. A reload, a second tab and a reopened tab are the same user. */
  guestToken: item(ofPerson, "studyroom.guest-token"),
  /** The id of that user at the last connection. */
  userId: item(ofPerson, "studyroom.user-id"),
  /** The rooms that the user was in. */
  rooms: item(ofPerson, "studyroom.rooms"),
  theme: item(ofBrowser, "studyroom.theme"),
  language: item(ofBrowser, "studyroom.language"),
  /** "off" if the user has muted the page. */
  sounds: item(ofBrowser, "studyroom.sounds"),
  /** "on" if the user wants notifications. */
  notifications: item(ofBrowser, "studyroom.notifications"),
  /** The room of this tab, so that a reload goes straight back. */
  room: item(ofTab, "studyroom.room"),
  seat: item(ofTab, "studyroom.seat"),
  /** "open" if the notes are. */
  notes: item(ofTab, "studyroom.notes"),

  /** From now on, this tab is another person than the others. */
  becomeSomeoneElse(): void {
    write(ofTab, SOMEONE_ELSE, "yes")
    for (const own of [
      memory.name,
      memory.emoji,
      memory.guestToken,
      memory.userId,
      memory.seat,
      memory.rooms,
    ])
      own.set(null)
  },
}
