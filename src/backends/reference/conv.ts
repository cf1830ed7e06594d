export function referenceConv(..._: unknown[]): void {
  throw new Error('not yet');
}
