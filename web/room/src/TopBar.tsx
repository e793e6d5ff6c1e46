import { Connection } from "./Connection"
import { Invite } from "./Invite"
import { Door } from "./icons"
import { ThemeButton } from "./ThemeButton"

interface Props {
  name: string
  link: string
  onLeave: () => void
}

export function TopBar({ name, link, onLeave }: Props) {
  return (
    <header className="top">
      <h1>{name}</h1>
      <Connection />
      <Invite link={link} />
      <ThemeButton />
      <button type="button" className="quiet" onClick={onLeave}>
        <Door />
        <span className="wide">Leave</span>
      </button>
    </header>
  )
}
