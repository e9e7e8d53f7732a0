import type { Partition } from '../model/ports/hub.ts';

/** Told to listeners when hints may have been lost: whoever waits for anything should look. */
export const anythingHint = '*';

/** What a hint says: this partition is at this revision. Not sealed, so only a reason to look. */
export interface Hint {
  readonly partition: Partition;
  readonly epoch: number;
  readonly revision: number;
}

const shape = /^([a-z0-9][a-z0-9-]{0,62}) (\d{1,16}) (\d{1,16})$/;

export function formatHint(hint: Hint): string {
  return `${hint.partition} ${hint.epoch} ${hint.revision}`;
}

/** Undefined for anything else than a hint, which is then ignored. */
export function parseHint(text: string): Hint | undefined {
  const match = shape.exec(text);
  if (!match) return undefined;
  return { partition: match[1] as string, epoch: Number(match[2]), revision: Number(match[3]) };
}
