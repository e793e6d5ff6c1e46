import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    projects: [
      { test: { name: "unit", include: ["tests/unit/**/*.test.{ts,tsx}"] } },
      {
        test: {
          name: "stack",
          include: ["tests/stack/**/*.test.{ts,tsx}"],
          globalSetup: "tests/support/stack.ts",
          testTimeout: 40_000,
          hookTimeout: 90_000,
        },
      },
    ],
    // The tests of the stack stop and kill its few processes, so two files cannot run at once.
    fileParallelism: false,
  },
})
