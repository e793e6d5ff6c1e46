/** The same in German. */

import type { en } from "./en"

export const de: typeof en = {
  notesOfRoom: "Notizen dieses Raums",
  hint: "Alle im Raum können hier schreiben. Formeln stehen zwischen Dollarzeichen, etwa $x^2$.",
  escape: "Mit Escape kommst du zu den Werkzeugen.",
  tools: "Werkzeuge",
  heading1: "Überschrift 1",
  heading2: "Überschrift 2",
  heading3: "Überschrift 3",
  bold: "Fett",
  italic: "Kursiv",
  code: "Code",
  link: "Link",
  bullets: "Liste",
  numbers: "Nummerierte Liste",
  codeBlock: "Codeblock",
  maths: "Formel",
  undo: "Rückgängig",
  redo: "Wiederherstellen",

  connecting: "Verbinde …",
  offline: "Offline",
  saving: "Speichert …",
  saved: "Gespeichert",
  readOnly: "Nur lesen",
  notSaved: "Nicht gespeichert",
  refused: "Kein Zugang",
  deleted: "Gelöscht",

  offlineExplained:
    "Du bist offline. Schreib weiter: Deine Notizen bleiben hier und werden gespeichert, wenn du zurück bist.",
  readOnlyExplained: "Du darfst diese Notizen lesen, aber nicht ändern.",
  tooLarge:
    "Deine letzte Änderung ist zu groß zum Speichern. Nimm sie zurück, oder kopiere deinen Text und mach mit den gespeicherten Notizen weiter.",
  full: "Diese Notizen sind voll, also werden deine Änderungen nicht gespeichert. Kopiere deinen Text und mach mit den gespeicherten Notizen weiter.",
  malformed:
    "Deine letzte Änderung lässt sich nicht speichern. Kopiere deinen Text und mach mit den gespeicherten Notizen weiter.",
  tooMany:
    "Dieser Raum hat zu viele Dokumente, also lassen sich diese Notizen nicht speichern. Kopiere deinen Text.",
  deletedExplained: "Diese Notizen wurden gelöscht. Du kannst neue anfangen.",
  deletedUnsaved:
    "Diese Notizen wurden gelöscht, bevor deine letzten Änderungen gespeichert waren. Kopiere deinen Text und fang neue Notizen an.",
  refusedExplained: "Dein Zugang umfasst die Notizen dieses Raums nicht.",
  unknownContent:
    "Diese Notizen enthalten etwas, das diese Seite nicht zeigen kann. Lade sie neu, um ihre neueste Version zu bekommen.",
  pasteTooLarge: "Dieser Text ist zu groß für die Notizen und wurde nicht eingefügt.",
  copyText: "Meinen Text kopieren",
  textCopied: "Kopiert",
  goOn: "Mit den gespeicherten Notizen weiter",
  startNew: "Neue Notizen anfangen",

  versions: "Versionen",
  versionName: "Die Notizen, wie sie jetzt sind, unter einem Namen behalten",
  versionHint: "Vor der Prüfung …",
  keepVersion: "Behalten",
  noVersions: "Es gibt noch keine Versionen.",
  restore: "Zurückholen",
  restoreVersion: "{name} zurückholen",
  restoreExplained:
    "Alle im Raum bekommen die Notizen, wie sie in „{name}“ waren. Vorher werden die Notizen, wie sie jetzt sind, zu einer Version.",
  beforeRestoring: "Bevor {name} zurückgeholt wurde",
  back: "Zurück",

  address: "Adresse",
  addressHint: "https://…",
  addressWrong: "Gib eine Adresse ein, die mit https://, http:// oder mailto: beginnt.",
  setLink: "Link setzen",
  removeLink: "Link entfernen",
  openLink: "In einem neuen Tab öffnen",
}
