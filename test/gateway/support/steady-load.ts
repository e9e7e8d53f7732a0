import { setTimeout as sleep } from 'node:timers/promises';
import { exchange } from './client.ts';

/** Fresh connections, one after the other in each of several workers, judged one by one. */
export interface SteadyLoad {
  /** From now on failures of connections that are begun later count as `failed`. @returns monotonic ms */
  mark(): number;
  /** Ends it. */
  stop(): Promise<LoadReport>;
}

export interface LoadReport {
  readonly sent: number;
  /** Begun after the last mark, or ended before it, and not answered. */
  readonly failed: number;
  /** Not answered because they were under way at a mark. */
  readonly interrupted: number;
  /** Of those that were answered. */
  readonly slowestMs: number;
}

/** Bytes of the answer that a fresh connection expects. */
export const answerOf = (line: string): string => `${line}\n`;

const workers = 8;
const pauseMs = 2;

export function startSteadyLoad(port: number, expected: string): SteadyLoad {
  let running = true;
  let markedAt = Number.NEGATIVE_INFINITY;
  let sent = 0;
  let failed = 0;
  let interrupted = 0;
  let slowestMs = 0;
  const worker = async (): Promise<void> => {
    while (running) {
      const begun = performance.now();
      const { received, end } = await exchange(port, 'hi');
      sent += 1;
      if (end === 'eof' && received.toString() === expected) slowestMs = Math.max(slowestMs, performance.now() - begun);
      else if (begun <= markedAt) interrupted += 1;
      else failed += 1;
      await sleep(pauseMs);
    }
  };
  const all = Array.from({ length: workers }, worker);
  return {
    mark() {
      markedAt = performance.now();
      return markedAt;
    },
    async stop() {
      running = false;
      await Promise.all(all);
      return { sent, failed, interrupted, slowestMs: Math.round(slowestMs) };
    },
  };
}
