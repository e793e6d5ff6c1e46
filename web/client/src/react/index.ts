export { StudyroomProvider, useClient } from "./context.js"
export {
  type Chat,
  useChat,
  useConnection,
  useCursor,
  useCursors,
  useOthers,
  useReadable,
  useRoom,
  useSelf,
  useStudyroom,
  useStudyroomEvent,
  useTyping,
} from "./hooks.js"
export { type AnyMessage, type LastMessage, type UseWebSocket, useWebSocket } from "./use-web-socket.js"
