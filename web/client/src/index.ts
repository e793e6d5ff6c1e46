export { StudyroomClient } from "./client.js"
export { newId } from "./new-id.js"
export type * from "./protocol.js"
export type * from "./types.js"
