/** Short tones, made by the browser. Nothing is loaded. */

import { memory } from "../memory"

/** In hertz, one after the other. */
const TUNES = { message: [660], over: [523, 659, 784] }
const TONE_SECONDS = 0.18
const VOLUME = 0.15

let context: AudioContext | null = null

/** Play a tune, unless the user has muted the page. Browsers are silent until the user has pressed something. */
export function play(tune: keyof typeof TUNES): void {
  if (memory.sounds.get() !== null || !navigator.userActivation?.hasBeenActive) return
  context ??= new AudioContext()
  void context.resume()
  for (const [index, hertz] of TUNES[tune].entries()) sound(context, hertz, index * TONE_SECONDS)
}

/** The tone swells and fades, because a sudden one clicks. */
function sound(context: AudioContext, hertz: number, inSeconds: number): void {
  const start = context.currentTime + inSeconds
  const [tone, volume] = [context.createOscillator(), context.createGain()]
  tone.frequency.value = hertz
  volume.gain.setValueAtTime(0, start)
  volume.gain.linearRampToValueAtTime(VOLUME, start + 0.02)
  volume.gain.linearRampToValueAtTime(0, start + TONE_SECONDS)
  tone.connect(volume).connect(context.destination)
  tone.start(start)
  tone.stop(start + TONE_SECONDS)
}
