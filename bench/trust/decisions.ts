import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { RenewCommand } from '../../src/trust/io/authority-issuance.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { type IssuanceFigures, figuresOf } from './figures.ts';
import { joinAll, type Newcomer, newcomers, openStage, renewalsPerReplica } from './stage.ts';

/** Requests that are under way at any moment. */
const inFlight = 64;
const clusters = 500;
const replicas = 4;

/**
 * Renewals by the authority's own decisions, without what carries them: request checked, intermediate signed, state and
 * journal committed and synced, roster published.
 */
export async function decisionsRound(seconds: number): Promise<IssuanceFigures> {
  const stage = await openStage();
  try {
    const all = newcomers(clusters, replicas);
    await joinAll(stage, all.slice(0, clusters));
    const queue = [...requestsOf(all)].reverse();
    const waits: number[] = [];
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const begin = performance.now();
    const end = begin + seconds * 1000;
    const caller = async (): Promise<void> => {
      while (performance.now() < end) {
        const request = queue.pop();
        if (!request) return;
        // Each request is an event of its own, as it is when it comes by the network.
        await nextTurn();
        const from = performance.now();
        await stage.issuance.renew(request);
        waits.push(performance.now() - from);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, caller));
    const tookMs = performance.now() - begin;
    delay.disable();
    return figuresOf(waits, tookMs, delay.percentile(99));
  } finally {
    await stage.close();
  }
}

/** Made once: every round has an authority of its own, and keys are the callers' work. */
let made: readonly RenewCommand[] | undefined;

function requestsOf(all: readonly Newcomer[]): readonly RenewCommand[] {
  made ??= Array.from({ length: renewalsPerReplica }, () => all)
    .flat()
    .map(({ id, cluster }) => ({ id, cluster, csr: createCsr(signerOf(generateKeyPem())), from: '127.0.0.1:1' }));
  return made;
}
