"use client"

export { StudyroomProvider, useClient } from "./context.js"
export { type RoomEvent, useBroadcast, useEvent } from "./events.js"
export {
  type Chat,
  useChat,
  useConnection,
  useCursor,
  useCursors,
  useLimits,
  useReadable,
  useRoom,
  useSelf,
  useStudyroom,
  useStudyroomEvent,
  useTyping,
} from "./hooks.js"
export { useLivingChat, useReadBy } from "./living-chat.js"
export { useMyPresence, useOthers } from "./presence.js"
export { type AnyMessage, type LastMessage, type UseWebSocket, useWebSocket } from "./use-web-socket.js"
