/** Where wisdom is kept: one text that is read whole and replaced whole. */
export interface WisdomStore {
  /** Shown in `rt.info.wisdom.source`. */
  readonly name: string;
  /** The stored text, or undefined if there is none. May throw; the caller warns and goes on without. */
  read(): string | undefined;
  /** Replaces the text atomically: a reader sees the old or the new one, never a part. */
  write(text: string): void;
  /** Keeps a text that was refused where a person can look at it, before it is overwritten. One copy is enough:
   *  where there is one already, nothing needs doing. */
  setAside?(text: string): void;
  /** Resolves when what was written is kept, for stores that write in the background. Never rejects. */
  settle?(): Promise<unknown>;
}
