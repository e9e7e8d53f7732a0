import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { clusterTrustDomain, parseTrustDomain, roleId } from '../../src/model/identity.ts';
import { type ClusterName, parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { Log } from '../../src/model/ports/log.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { AuthorityIssuance, type RenewCommand } from '../../src/trust/io/authority-issuance.ts';
import { AuthorityLedger } from '../../src/trust/io/authority-ledger.ts';
import { Refusals } from '../../src/trust/io/authority-refusals.ts';
import { AuthorityTokens } from '../../src/trust/io/authority-tokens.ts';
import { issueRoot } from '../../src/trust/io/issuer.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { decodeJoinToken } from '../../src/wire/join-token.ts';

/** Requests that are under way at any moment. */
const inFlight = 64;
/** A federation of this size renews; each replica has room for so many intermediates. */
const clusters = 500;
const replicas = 4;
const perReplica = 7;
const federationDomain = parseTrustDomain('mesh.example');
/** More than is measured: what is refused would be fast. */
const generous = { perSecond: 1_000_000, burst: 1_000_000 };

const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

export interface IssuanceFigures {
  readonly perSecond: number;
  /** From a request to its chain. */
  readonly p99Ms: number;
  readonly loopP99Ms: number;
}

/**
 * Renewals by the authority's own decisions, as its gRPC handlers call them: request checked, intermediate signed, state
 * and journal committed and synced, roster published, chain out.
 */
export async function issuanceRound(seconds: number): Promise<IssuanceFigures> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-bench-'));
  const clock = systemClock;
  const root = issueRoot(federationDomain, signerOf(generateKeyPem()), clock.now());
  const anchor = root.certificate;
  const path = join(dir, 'authority.db');
  const ledger = await AuthorityLedger.open({ path, federationDomain, anchor, clock, log: silent });
  try {
    const limits = { global: generous, renewalReserve: 0, source: generous, identity: generous };
    const refusals = new Refusals({ ledger, clock, log: silent });
    const tokens = new AuthorityTokens({ ledger, federationDomain, rootSha256: '0'.repeat(64), clock });
    const core = new AuthorityIssuance({
      ledger,
      refusals,
      root,
      anchor,
      federationDomain,
      clock,
      nameConstraints: true,
      limits,
    });
    const names = Array.from({ length: clusters }, (_, index) => parseClusterName(`cluster-${index}`));
    for (let at = 0; at < names.length; at += 50) {
      await Promise.all(names.slice(at, at + 50).map((cluster) => admit(core, tokens, cluster)));
    }
    return await measure(core, requestsOf(names), seconds);
  } finally {
    await ledger.close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Made once: every round has an authority of its own, and keys are the callers' work. */
let made: readonly RenewCommand[] | undefined;

function requestsOf(names: readonly ClusterName[]): readonly RenewCommand[] {
  made ??= Array.from({ length: replicas * perReplica }, (_, index) => parseReplicaName(`agent-${index % replicas}`))
    // One after another through all clusters, as renewals come.
    .flatMap((replica) =>
      names.map((cluster) => {
        const id = roleId(clusterTrustDomain(cluster, federationDomain), 'agent', replica);
        return { id, cluster, csr: createCsr(signerOf(generateKeyPem())), from: '127.0.0.1:1' };
      }),
    );
  return made;
}

async function admit(core: AuthorityIssuance, tokens: AuthorityTokens, cluster: ClusterName): Promise<void> {
  const { token } = await tokens.issue({ cluster, addresses: ['127.0.0.1:1'], who: 'bench' });
  const { secret } = decodeJoinToken(token);
  await core.join({
    cluster,
    replica: 'agent-0',
    secret,
    csr: createCsr(signerOf(generateKeyPem())),
    from: '127.0.0.1:1',
  });
}

async function measure(
  core: AuthorityIssuance,
  requests: readonly RenewCommand[],
  seconds: number,
): Promise<IssuanceFigures> {
  const waits: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const queue = [...requests].reverse();
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
      await core.renew(request);
      waits.push(performance.now() - from);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  const tookMs = performance.now() - begin;
  delay.disable();
  waits.sort((a, b) => a - b);
  return {
    perSecond: waits.length / (tookMs / 1000),
    p99Ms: waits[Math.floor(waits.length * 0.99)] ?? Number.NaN,
    loopP99Ms: delay.percentile(99) / 1e6,
  };
}
