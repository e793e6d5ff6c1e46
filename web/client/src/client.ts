import type { ClientMessage } from "./protocol.js"
import type {
  ChatMessage,
  Client,
  ClientEvent,
  ClientEventOf,
  ClientOptions,
  ConnectionState,
  Cursor,
  Member,
  Readable,
  RoomState,
} from "./types.js"

const still = <T>(value: T): Readable<T> => ({ get: () => value, subscribe: () => () => {} })

export class StudyroomClient implements Client {
  readonly connection = still<ConnectionState>({ status: "idle" })
  readonly room = still<RoomState>({ status: "none" })
  readonly others = still<readonly Member[]>([])
  readonly self = still<Member | null>(null)
  readonly cursors = still<ReadonlyMap<string, Cursor>>(new Map())
  readonly typing = still<readonly Member[]>([])
  readonly messages = still<readonly ChatMessage[]>([])

  constructor(_options: ClientOptions) {}

  connect(): void {}
  close(): void {}
  join(_roomId: string): void {}
  leave(): void {}
  sendChat(_content: string): ChatMessage {
    throw new Error("not yet")
  }
  retryChat(_id: string): void {}
  discardChat(_id: string): void {}
  moveCursor(_x: number, _y: number, _elementId: string | null = null): void {}
  setTyping(_isTyping: boolean): void {}
  send(_message: ClientMessage): boolean {
    return false
  }
  on<T extends ClientEvent["type"]>(_type: T, _listener: (event: ClientEventOf<T>) => void): () => void {
    return () => {}
  }
}
