import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** `npm run page` serves an isolated page, whose threads share memory; with `--mode plain` one without special headers. */
export default defineConfig(({ mode }) => ({
  root: path('.'),
  base: './',
  resolve: { alias: { tesserae: path('../../src/index.ts') } },
  server: {
    headers:
      mode === 'plain'
        ? {}
        : { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' },
  },
  build: { outDir: path('../../dist-page'), emptyOutDir: true, target: 'es2022' },
}));
