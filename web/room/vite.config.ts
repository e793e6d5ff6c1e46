import react from "@vitejs/plugin-react"
import { defineConfig } from "vite"

const { STUDYROOM_GATEWAY: gateway = "http://127.0.0.1:8080" } = process.env

const AT_FIRST =
  /\/room\/src\/(?!notes\/(?!open|NotesPlace)|chat\/tex|texts\/de)|\/client\/(?:src|dist)\/(?!documents)|\/node_modules\/(?:react|react-dom|scheduler|nanostores|@nanostores)\//

export default defineConfig({
  // Relative addresses, so that the page works behind any prefix of a proxy.
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../../gateway/static",
    emptyOutDir: true,
    // Every file has its own address, because the content security policy allows no data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The editor of the notes, which is loaded with them.
    chunkSizeWarningLimit: 600,
    // All that the page needs at first is one script, which is smaller than several.
    rollupOptions: { output: { manualChunks: (id) => (AT_FIRST.test(id) ? "page" : undefined) } },
  },
  // `npm run dev` serves the page from here, and everything else from a running gateway.
  server: { proxy: { "/ws": { target: gateway, ws: true }, "/api": gateway } },
})
