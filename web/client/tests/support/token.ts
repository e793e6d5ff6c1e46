import { createHmac } from "node:crypto"
import { JWT_SECRET } from "./stack.js"

/** An access token that the gateways accept. `more`: further claims. */
export function token(subject: string, name: string, lifetimeSeconds = 60, more: object = {}): string {
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const claims = { sub: subject, name, exp: Math.floor(Date.now() / 1000) + lifetimeSeconds, ...more }
  const signed = `${encoded({ alg: "HS256", typ: "JWT" })}.${encoded(claims)}`
  return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`
}
