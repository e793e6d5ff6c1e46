const TOKEN = /^(access|guest)_token\.(.*)/

/** Returns the header with the token of these subprotocols, or none if they have no token. */
export function authorization(protocols: readonly string[] = []): Record<string, string> {
  for (const protocol of protocols) {
    const [, kind, token] = TOKEN.exec(protocol) ?? []
    if (kind) return { Authorization: `${kind === "guest" ? "Guest" : "Bearer"} ${token}` }
  }
  return {}
}
