import { useCallback, useEffect, useState } from "react"
import { sentence } from "../codes"
import { face } from "../face"
import { LineForm } from "../LineForm"
import { dateLocale, filled } from "../texts"
import { useNotesTexts } from "./texts"
import { keepVersion, listVersions, Refused, restoreVersion, type Version } from "./version-requests"

interface Props {
  roomId: string
  /** Whether the user may keep and restore versions now. */
  mayChange: boolean
  onDone: () => void
}

/** The versions of the notes, to keep another one and to restore one. */
export function Versions({ roomId, mayChange, onDone }: Props) {
  const t = useNotesTexts()
  const [versions, setVersions] = useState<readonly Version[] | null>(null)
  const [chosen, setChosen] = useState<Version | null>(null)
  const [fault, setFault] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)

  const attempt = useCallback(async (what: () => Promise<void>) => {
    setFault(null)
    setBusy(true)
    try {
      await what()
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      setFault(sentence(error.code))
    } finally {
      setBusy(false)
    }
  }, [])
  const load = useCallback(async () => setVersions(await listVersions(roomId)), [roomId])
  useEffect(() => void attempt(load), [attempt, load])

  const keep = (name: string) =>
    attempt(async () => {
      await keepVersion(roomId, name)
      await load()
    })
  /** The notes as they are now become a version too, so that nothing is lost. */
  const restore = (version: Version) =>
    attempt(async () => {
      await keepVersion(roomId, filled(t.beforeRestoring, { name: version.name }).slice(0, NAME_MAX))
      await restoreVersion(roomId, version)
      onDone()
    })

  if (chosen)
    return (
      <>
        <p>{filled(t.restoreExplained, { name: chosen.name })}</p>
        <div className="choices">
          <button type="button" className="primary" disabled={busy} onClick={() => restore(chosen)}>
            {t.restore}
          </button>
          <button type="button" onClick={() => setChosen(null)}>
            {t.back}
          </button>
        </div>
        <Fault text={fault} />
      </>
    )
  return (
    <>
      {mayChange && (
        <LineForm
          label={t.versionName}
          hint={t.versionHint}
          maxLength={NAME_MAX}
          clears
          button={t.keepVersion}
          lineOf={(text) => (busy ? null : text.trim() || null)}
          onLine={keep}
        />
      )}
      <Fault text={fault} />
      {versions?.length === 0 && <p className="dim">{t.noVersions}</p>}
      <ul className="versions" aria-label={t.versions}>
        {versions?.map((version) => (
          <li key={version.id}>
            <span>
              <bdi>{version.name}</bdi>
              <small className="dim">{`${timeOf(version)} · ${face(version.author).name}`}</small>
            </span>
            {mayChange && (
              <button
                type="button"
                aria-label={filled(t.restoreVersion, { name: version.name })}
                onClick={() => setChosen(version)}
              >
                {t.restore}
              </button>
            )}
          </li>
        ))}
      </ul>
    </>
  )
}

/** The longest name of a version, in characters. */
const NAME_MAX = 100

function Fault({ text }: { text: string | null }) {
  return (
    <p className="fault" role="alert">
      {text}
    </p>
  )
}

function timeOf({ created_at }: Version): string {
  return new Date(created_at * 1000).toLocaleString(dateLocale(), { dateStyle: "medium", timeStyle: "short" })
}
