import { Connection } from "./Connection"
import { Invite } from "./Invite"
import { Door } from "./icons"
import { SettingsButton } from "./settings/SettingsButton"
import { ThemeButton } from "./ThemeButton"
import { useTexts } from "./texts"

interface Props {
  name: string
  link: string
  onRename: (name: string) => void
  onLeave: () => void
}

export function TopBar({ name, link, onRename, onLeave }: Props) {
  const t = useTexts()
  return (
    <header className="top">
      <h1 dir="auto">{name}</h1>
      <Connection />
      <Invite link={link} />
      <SettingsButton name={name} onRename={onRename} />
      <ThemeButton />
      <button type="button" className="quiet" onClick={onLeave}>
        <Door />
        <span className="wide">{t.leave}</span>
      </button>
    </header>
  )
}
