import { fork } from 'node:child_process';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { authorityId } from '../../src/model/identity.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { sealRosters } from '../../src/trust/authority/roster-sealer.ts';
import { AuthorityAcks } from '../../src/trust/io/authority-acks.ts';
import { AuthorityMembers } from '../../src/trust/io/authority-members.ts';
import { serveAuthority } from '../../src/trust/io/authority-service.ts';
import { issue, issuerOf } from '../../src/trust/io/issuer.ts';
import { generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { createSealer } from '../../src/trust/io/sealer.ts';
import { authoritySealId } from '../../src/trust/verify/seal-id.ts';
import { encodePemChain } from '../../src/trust/x509/pem.ts';
import type { CallersDone, CallersPlan } from './callers.ts';
import { figuresOf, type IssuanceFigures } from './figures.ts';
import { federationDomain, joinAll, newcomers, openStage, renewalsPerReplica, silent, type Stage } from './stage.ts';

/** Agents that call at any moment, each over a connection of its own. */
const inFlight = 64;
const clusters = 250;
const replicas = 8;

/**
 * Renewals as agents make them: by gRPC over mutual TLS, each agent with its own identity and connection, from a process
 * of their own. The request is checked, the intermediate signed, state and journal committed and synced, the roster
 * published, the chain sent.
 */
export async function issuanceRound(seconds: number): Promise<IssuanceFigures> {
  const stage = await openStage();
  const ends: (() => unknown)[] = [() => stage.close()];
  try {
    const { root, ledger, refusals, issuance } = stage;
    const members = new AuthorityMembers({ ledger, refusals, clock });
    const acks = new AuthorityAcks({ ledger, refusals, clock });
    ends.push(() => acks.close());
    const anchor = root.certificate;
    const seals = sealRosters(ledger.roster, new Watchable(createSealer(identityOf(stage, 'seal'))));
    ends.push(() => seals.close());
    const tls = identityOf(stage, 'authority');
    const material = { identity: { chain: [...tls.chain, anchor], keyPem: tls.keyPem }, anchors: [anchor] };
    const service = await serveAuthority({
      listen: { host: '127.0.0.1', port: 0 },
      issuance,
      members,
      acks,
      ledger,
      sealedRoster: seals.roster,
      material: () => material,
      hubFor: async () => undefined,
      federationDomain,
      anchor,
      clock,
      log: silent,
    });
    ends.push(() => service.close());
    return await measure(await planOf(stage, service.port, seconds));
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

function identityOf({ root }: Stage, profile: 'authority' | 'seal') {
  const keyPem = generateKeyPem();
  const id = profile === 'seal' ? authoritySealId(federationDomain) : authorityId(federationDomain);
  const { certificate, notBefore, notAfter } = issue(root, {
    profile,
    uri: id,
    spki: signerOf(keyPem).spki,
    now: clock.now(),
  });
  return { id, chain: [certificate], keyPem, notBefore, notAfter };
}

async function planOf(stage: Stage, port: number, seconds: number): Promise<CallersPlan> {
  const joined = await joinAll(stage, newcomers(clusters, replicas));
  const agents = joined.map(({ id, certificate, keyPem, replica }) => {
    const leafKey = generateKeyPem();
    const issuer = issuerOf(certificate, signerOf(keyPem));
    const leaf = issue(issuer, { profile: 'leaf', uri: id, spki: signerOf(leafKey).spki, now: clock.now() });
    const chain = encodePemChain([leaf.certificate, certificate]);
    return { replica, chain: Buffer.from(chain).toString('latin1'), keyPem: leafKey };
  });
  const anchor = Buffer.from(encodePemChain([stage.root.certificate])).toString('latin1');
  return { port, anchor, agents, renewals: renewalsPerReplica, inFlight, seconds };
}

/** The callers connect first; what they take then counts. */
async function measure(plan: CallersPlan): Promise<IssuanceFigures> {
  const child = fork(fileURLToPath(new URL('callers.ts', import.meta.url)));
  const delay = monitorEventLoopDelay({ resolution: 1 });
  try {
    return await new Promise<IssuanceFigures>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status) => reject(new Error(`The callers ended with status ${status}`)));
      child.on('message', (message: 'ready' | CallersDone) => {
        if (message === 'ready') {
          delay.enable();
          child.send('go');
          return;
        }
        delay.disable();
        resolve(figuresOf(message.waits, message.tookMs, delay.percentile(99)));
      });
      child.send(plan);
    });
  } finally {
    child.kill();
  }
}
