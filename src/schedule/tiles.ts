/** Cuts a result into tiles: pure arithmetic, tested to cover every element exactly once. */
import type { TileOrder } from '../plan/plan.ts';

export interface Tile {
  readonly m0: number;
  readonly rows: number;
  readonly n0: number;
  readonly cols: number;
}

/** Tiles of at most mc x nc over an m x n result, `mn` walking down the rows first, `nm` along the columns first. */
export function tilesOf(m: number, n: number, mc: number, nc: number, order: TileOrder): Tile[] {
  const tiles: Tile[] = [];
  const add = (m0: number, n0: number) =>
    tiles.push({ m0, rows: Math.min(mc, m - m0), n0, cols: Math.min(nc, n - n0) });
  if (order === 'mn') for (let n0 = 0; n0 < n; n0 += nc) for (let m0 = 0; m0 < m; m0 += mc) add(m0, n0);
  else for (let m0 = 0; m0 < m; m0 += mc) for (let n0 = 0; n0 < n; n0 += nc) add(m0, n0);
  return tiles;
}

/** Stretches of at most `chunk` over `count`. */
export function stretchesOf(count: number, chunk: number): { from: number; length: number }[] {
  const stretches: { from: number; length: number }[] = [];
  for (let from = 0; from < count; from += chunk)
    stretches.push({ from, length: Math.min(chunk, count - from) });
  return stretches;
}
