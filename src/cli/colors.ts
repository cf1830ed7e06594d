/** Colour, or none of it where output is no terminal. */
import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

export function colorsFor(terminal: boolean): Colors {
  return pc.createColors(terminal && pc.isColorSupported);
}
