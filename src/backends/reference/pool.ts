export function referencePool(..._: unknown[]): void {
  throw new Error('not yet');
}
