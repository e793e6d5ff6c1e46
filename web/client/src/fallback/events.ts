/** Reads server-sent events (HTML Standard, section 9.2) as far as the gateway uses them: one line of data for each. */

export interface ServerEvent {
  name: string
  data: string
}

export class EventReader {
  #rest = ""

  /** Returns the events that are whole now. */
  read(text: string): ServerEvent[] {
    const blocks = (this.#rest + text).split("\n\n")
    this.#rest = blocks.pop() ?? ""
    return blocks.flatMap(eventIn)
  }
}

function eventIn(block: string): ServerEvent[] {
  let name = "message"
  let data: string | undefined
  for (const line of block.split("\n")) {
    const [field, value] = [
      line.slice(0, line.indexOf(":")),
      line.slice(line.indexOf(":") + 1).replace(/^ /, ""),
    ]
    if (field === "event") name = value
    if (field === "data") data = value
  }
  return data === undefined ? [] : [{ name, data }]
}
