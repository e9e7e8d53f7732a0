import { once } from 'node:events';
import { renewIntermediateMethod } from '../../src/trust/io/authority-api.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { connectLean, type LeanClient } from './lean-grpc.ts';

/** Agents that renew, in a process of their own, each over a connection with its own identity. */

export interface CallersPlan {
  readonly port: number;
  /** PEM. */
  readonly anchor: string;
  readonly agents: readonly { readonly replica: string; readonly chain: string; readonly keyPem: string }[];
  /** Of each agent. */
  readonly renewals: number;
  /** Agents that call at any moment. */
  readonly inFlight: number;
  readonly seconds: number;
}

export interface CallersDone {
  /** Of each renewal, in ms. */
  readonly waits: readonly number[];
  readonly tookMs: number;
}

interface Caller {
  readonly client: LeanClient;
  /** Renewals that have not been asked for. */
  readonly requests: readonly Buffer[];
}

const { path, requestSerialize } = renewIntermediateMethod;
/** Handshakes at a time. */
const connectsAtOnce = 32;

async function connectOne(
  { port, anchor, renewals }: CallersPlan,
  agent: CallersPlan['agents'][number],
): Promise<Caller> {
  const { replica, chain, keyPem } = agent;
  const client = await connectLean({ port, path, anchor, chain, keyPem });
  const requests = Array.from({ length: renewals }, () => {
    const csr = Buffer.from(createCsr(signerOf(generateKeyPem())));
    return requestSerialize({ replica, csr });
  });
  return { client, requests };
}

async function call(callers: readonly Caller[], { inFlight, seconds }: CallersPlan): Promise<CallersDone> {
  const waits: number[] = [];
  const queue = [...callers];
  const begin = performance.now();
  const end = begin + seconds * 1000;
  const one = async (): Promise<void> => {
    for (let caller = queue.pop(); caller; caller = queue.pop()) {
      for (const request of caller.requests) {
        const from = performance.now();
        if (from >= end) return;
        await caller.client.call(request);
        waits.push(performance.now() - from);
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return { waits, tookMs: performance.now() - begin };
}

async function run(plan: CallersPlan): Promise<void> {
  const callers: Caller[] = [];
  for (let at = 0; at < plan.agents.length; at += connectsAtOnce) {
    const some = plan.agents.slice(at, at + connectsAtOnce);
    callers.push(...(await Promise.all(some.map((agent) => connectOne(plan, agent)))));
  }
  process.send?.('ready');
  await once(process, 'message');
  process.send?.(await call(callers, plan));
  for (const { client } of callers) client.close();
}

process.once('message', (plan: CallersPlan) => {
  run(plan).catch((thrown: unknown) => {
    process.stderr.write(`${String(thrown)}\n`);
    process.exit(1);
  });
});
