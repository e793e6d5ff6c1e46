/** All texts of the page in English, in the order of the places where they are. Other languages follow this table. */

import { params } from "@nanostores/i18n"

export const en = {
  // the dialogs
  close: "Close",

  // what you show to the others
  tools: "What you show",
  raiseHand: "Raise hand",
  handRaised: "hand raised",
  hasRaisedHand: "{name} raised a hand",
  status: "Status",
  setStatus: "Set a status",
  statusHint: "Chapter 4, back at three …",
  yourStatus: "What the others see below your name",
  showStatus: "Show it",
  removeStatus: "Remove it",

  // the timer
  timer: "Timer",
  timerOfRoom: "Timer of the room",
  timerExplained: "Everyone in the room sees it, and anyone may start another one or stop it.",
  focus: "Focus",
  break: "Break",
  minutes: params("{minutes} min"),
  startFocus: "Start focus",
  startBreak: "Start a break",
  stopTimer: "Stop the timer",
  runsUntil: params("It runs until {time}."),
  focusOver: "Focus is over",
  breakOver: "The break is over",
}
