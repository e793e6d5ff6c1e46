import type { ReactNode } from "react"

const WEB_ADDRESS = /\bhttps?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'’]/gi

/** The text with its web addresses as links. Nothing but http and https ever becomes one. */
export function withLinks(text: string): ReactNode[] {
  const parts: ReactNode[] = []
  let end = 0
  for (const { 0: address, index } of text.matchAll(WEB_ADDRESS)) {
    parts.push(text.slice(end, index))
    parts.push(
      <a key={index} href={address} target="_blank" rel="noopener noreferrer">
        {address}
      </a>,
    )
    end = index + address.length
  }
  parts.push(text.slice(end))
  return parts
}
