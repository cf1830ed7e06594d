/** The roofline plot: what was reached against what the memory and the multiply-add units allow. */
import * as Plot from '@observablehq/plot';
import type { MachineProfile } from 'tesserae';

export interface Dot {
  readonly name: string;
  /** Operations for each byte moved. */
  readonly intensity: number;
  readonly gflops: number;
  readonly series: 'WebAssembly' | 'GPU';
}

function plain(value: number): string {
  return String(value);
}

export function roofline(
  { peakGflops, readGBs, readGBsAllThreads }: MachineProfile,
  threads: number,
  dots: readonly Dot[],
  width: number,
): Element {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const roof = (peak: number, bandwidth: number, name: string) =>
    [0.25, peak / bandwidth, 512].map((intensity) => ({
      intensity,
      gflops: Math.min(peak, intensity * bandwidth),
      name,
    }));
  const roofs = [
    ...roof(peakGflops, readGBs, 'one thread'),
    ...(threads > 1
      ? roof(threads * peakGflops, Math.max(readGBs, readGBsAllThreads), `${threads} threads`)
      : []),
  ];
  return Plot.plot({
    width,
    height: Math.max(280, 0.55 * width),
    marginLeft: 50,
    style: { fontSize: '13px', background: 'none' },
    x: {
      type: 'log',
      base: 2,
      label: 'operations per byte →',
      domain: [0.25, 512],
      tickFormat: plain,
    },
    y: { type: 'log', label: '↑ billions a second', grid: true, nice: true, tickFormat: plain },
    color: { domain: ['WebAssembly', 'GPU'], range: [colour('--wasm'), colour('--gpu')] },
    marks: [
      Plot.line(roofs, {
        x: 'intensity',
        y: 'gflops',
        z: 'name',
        stroke: colour('--quiet'),
        strokeWidth: 1.5,
      }),
      Plot.text(
        roofs.filter((_, i) => i % 3 === 2),
        {
          x: 'intensity',
          y: 'gflops',
          text: 'name',
          dx: -4,
          dy: -8,
          textAnchor: 'end',
          fill: colour('--quiet'),
        },
      ),
      Plot.dot(dots, { x: 'intensity', y: 'gflops', fill: 'series', r: 5, title: 'name', tip: true }),
    ],
  });
}
