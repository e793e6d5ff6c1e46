import type { ChatMessage, Member } from "@studyroom/client"
import { useClient, useReadable } from "@studyroom/client/react"
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react"
import { sentence } from "../codes"
import { Dialog } from "../Dialog"
import { face } from "../face"
import { filled, useTexts } from "../texts"
import { ban, deleteMessage, mayModerate, removeMember } from "./requests"

const HOUR_SECONDS = 3600
const DAY_SECONDS = 86_400

interface Moderation {
  /** Opens the window with what a moderator may do about them. */
  member: (member: Member) => void
  message: (message: ChatMessage) => void
}

const Current = createContext<Moderation | null>(null)

/** Null if the user may not moderate the room. */
export const useModeration = (): Moderation | null => useContext(Current)

type Subject = { member: Member } | { message: ChatMessage } | null

/** Offers moderation to the parts inside, if the user may moderate. */
export function Moderated({ roomId, children }: { roomId: string; children: ReactNode }) {
  const t = useTexts()
  const [subject, setSubject] = useState<Subject>(null)
  const allowed = useAllowed(roomId)
  const moderation = useMemo<Moderation>(
    () => ({ member: (member) => setSubject({ member }), message: (message) => setSubject({ message }) }),
    [],
  )
  const title =
    subject && "member" in subject
      ? filled(t.moderate, { name: face(subject.member.username).name })
      : t.deleteMessage
  return (
    <Current value={allowed ? moderation : null}>
      {children}
      <Dialog title={title} open={subject !== null} onClose={() => setSubject(null)}>
        {subject && <Choices roomId={roomId} subject={subject} onDone={() => setSubject(null)} />}
      </Dialog>
    </Current>
  )
}

interface ChoicesProps {
  roomId: string
  subject: NonNullable<Subject>
  onDone: () => void
}

function Choices({ roomId, subject, onDone }: ChoicesProps) {
  const t = useTexts()
  const [fault, setFault] = useState<string | null>(null)
  const act = (what: () => Promise<string | null>) => async () => {
    const code = await what()
    if (code === null) onDone()
    else setFault(sentence(code))
  }
  const choices: [string, () => Promise<string | null>][] =
    "member" in subject
      ? [
          [t.remove, () => removeMember(roomId, subject.member.userId)],
          [t.banHour, () => ban(roomId, subject.member.userId, HOUR_SECONDS)],
          [t.banDay, () => ban(roomId, subject.member.userId, DAY_SECONDS)],
        ]
      : [[t.deleteIt, () => deleteMessage(roomId, subject.message.seq ?? 0, subject.message.id)]]
  return (
    <>
      {"message" in subject && <blockquote dir="auto">{subject.message.content}</blockquote>}
      <p className="dim">{"member" in subject ? t.removeExplained : t.deleteExplained}</p>
      <div className="choices">
        {choices.map(([label, what]) => (
          <button key={label} type="button" onClick={act(what)}>
            {label}
          </button>
        ))}
      </div>
      <p className="fault" role="alert">
        {fault}
      </p>
    </>
  )
}

function useAllowed(roomId: string): boolean {
  const room = useReadable(useClient().room)
  const [allowed, setAllowed] = useState(false)
  const joined = room.status === "joined"
  useEffect(() => {
    if (!joined) return
    let wanted = true
    void mayModerate(roomId).then((may) => wanted && setAllowed(may))
    return () => {
      wanted = false
    }
  }, [joined, roomId])
  return allowed
}
