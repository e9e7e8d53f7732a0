import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { Clock } from '../../src/model/ports/clock.ts';
import { listenTcp } from '../../src/runtime/io/tcp-server.ts';
import { acceptTls, dialTls, secureContextOf } from '../../src/runtime/io/tls.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { verifiedPeer } from '../../src/trust/io/call-identity.ts';
import { type GatewayIdentity, openGatewayIdentity } from '../../src/trust/io/gateway-identity.ts';
import { type SelfCheck, startSelfCheck } from '../../src/trust/io/self-check.ts';
import { keyIdOf } from '../../src/trust/x509/certificate.ts';
import { readCertificate } from '../../src/trust/x509/read.ts';
import type { TrustUpdate } from '../../src/wire/trust-update.ts';
import { Endings } from './support/endings.ts';
import { eventually, ShiftedClock, silent } from './support/environment.ts';
import { startTestAgent, startTestAuthority, type TestAgent, type TestAgentOptions } from './support/site.ts';

const east = parseClusterName('east');
const west = parseClusterName('west');
const host = '127.0.0.1';

interface Site {
  readonly agent: TestAgent;
  readonly gateway: GatewayIdentity;
  readonly port: number;
  readonly check: SelfCheck;
}

/** A gateway with a listener that presents what it has now, and its self-check. `roster`: what its agent sends it. */
async function startGateway(
  ends: Endings,
  agent: TestAgent,
  { clock, dir, lagMs = 0 }: { readonly clock: Clock; readonly dir: string; readonly lagMs?: number },
): Promise<Site> {
  const { ca } = agent;
  const replica = parseReplicaName('gateway-0');
  const { token } = await ca.issueGatewayToken({ gateway: replica, addresses: [agent.address] });
  const stateDir = join(dir, `gateway-of-${ca.cluster}`);
  const gateway = await openGatewayIdentity({ stateDir, replica, token, agentAddresses: [], clock, log: silent });
  ends.add(() => gateway.close());
  const take = (update: TrustUpdate | undefined): void => {
    if (!update) return;
    if (lagMs === 0) gateway.acceptTrust(update);
    else clock.schedule(lagMs, () => gateway.acceptTrust(update));
  };
  ends.add(ca.trustUpdate.subscribe(take));
  await eventually('enrolled', () => gateway.waitingFor() === undefined);
  const listener = await listenTcp({ host, port: 0 }, (raw) => {
    const material = gateway.material.current;
    raw.on('error', () => undefined);
    if (!material) {
      raw.destroy();
      return;
    }
    acceptTls(raw, {
      context: secureContextOf(material),
      alpn: ['h2'],
      clientCertificate: 'required',
      check: (chain) => verifiedPeer(gateway.verifier, chain),
      timeoutMs: 20_000,
    }).then(
      ({ socket }) => socket.on('error', () => undefined).end('in'),
      () => raw.destroy(),
    );
  });
  ends.add(() => listener.close());
  const { material, trust, verifier } = gateway;
  const at = { host, port: listener.port };
  const check = startSelfCheck({ listener: () => at, material, trust, verifier, clock, log: silent });
  ends.add(() => check.close());
  return { agent, gateway, port: listener.port, check };
}

/** The same time, and the luck that moves renewals as early (0) or as late (1) as jitter can. */
function paced(clock: Clock, luck: number): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    schedule: (delayMs, task) => clock.schedule(delayMs, task),
    random: () => luck,
  };
}

async function start(
  t: TestContext,
  options: Partial<TestAgentOptions> & { readonly lifeMs?: number; lagMs?: number } = {},
) {
  const ends = new Endings(t);
  const clock = new ShiftedClock();
  const { lifeMs, lagMs, ...rest } = options;
  const at = await startTestAuthority(ends, clock, lifeMs === undefined ? {} : { intermediateLifeMs: lifeMs });
  const [hasty, late] = [paced(clock, 0), paced(clock, 0.999)];
  const ofEast = await startTestAgent(ends, at, { clock: hasty, ...rest, cluster: east });
  const ofWest = await startTestAgent(ends, at, { clock: late, cluster: west });
  const inEast = await startGateway(ends, ofEast, { clock: hasty, dir: at.dir });
  const inWest = await startGateway(ends, ofWest, { clock: late, dir: at.dir, ...(lagMs !== undefined && { lagMs }) });
  return { ends, clock, at, inEast, inWest };
}

const keyIdsOf = (chain: readonly Uint8Array[] = []): string[] =>
  chain.map((der) => keyIdOf(readCertificate(der).spki));

test('a gateway acknowledges what its own listener was seen to present, and the roster it then had', async (t) => {
  const { at, inEast } = await start(t);
  const { check, gateway } = inEast;
  await eventually('proved', () => check.result.current.acknowledged !== undefined);
  const first = check.result.current.acknowledged;
  const svid = gateway.svid.current;
  assert.deepEqual(
    first?.chain.map(({ keyId }) => keyId),
    keyIdsOf(svid?.chain),
    'leaf and intermediate, without the anchor',
  );
  assert.equal(first?.chain[0]?.notAfter, svid?.notAfter);
  assert.equal(first?.rosterSequence, gateway.trust.current?.roster.sequence);
  await at.authority.issueToken({ cluster: parseClusterName('south') });
  await at.authority.setClusterState(west, 'suspended', 'test');
  const { sequence } = at.authority.roster.current;
  await eventually('the new roster too', () => check.result.current.acknowledged?.rosterSequence === sequence);
});

test('a listener that presents something else than it should acknowledges nothing, and says why', async (t) => {
  const { ends, clock, inEast, inWest } = await start(t);
  const { material, trust, verifier } = inEast.gateway;
  const dead = startSelfCheck({
    listener: () => ({ host, port: 1 }),
    material,
    trust,
    verifier,
    clock,
    log: silent,
  });
  ends.add(() => dead.close());
  await eventually('says so', () => /ECONNREFUSED/.test(dead.result.current.problem ?? ''));
  assert.equal(dead.result.current.acknowledged, undefined);
  const other = startSelfCheck({
    listener: () => ({ host, port: inWest.port }),
    material,
    trust,
    verifier,
    clock,
    log: silent,
  });
  ends.add(() => other.close());
  await eventually('says so', () => /presents .*west.*, not .*east/.test(other.result.current.problem ?? ''));
  const none = startSelfCheck({
    listener: () => ({ host, port: inEast.port }),
    material: new Watchable(undefined),
    trust,
    verifier,
    clock,
    log: silent,
  });
  ends.add(() => none.close());
  await eventually('says so', () => /no identity/.test(none.result.current.problem ?? ''));
});

/** Handshakes both ways, one after the other, until `until`; how many there were and which failed. */
async function dialAllTheTime(
  a: Site,
  b: Site,
  until: (failures: number) => boolean,
): Promise<{ readonly total: number; readonly failures: readonly string[] }> {
  let total = 0;
  const failures: string[] = [];
  const once = async (from: GatewayIdentity, port: number): Promise<void> => {
    const material = from.material.current;
    assert.ok(material);
    total += 1;
    try {
      const { socket } = await dialTls({
        host,
        port,
        context: secureContextOf(material),
        alpn: ['h2'],
        check: (chain) => verifiedPeer(from.verifier, chain),
        timeoutMs: 20_000,
      });
      const heard = await new Promise<string>((resolve) => {
        let text = '';
        socket.on('data', (chunk) => {
          text += String(chunk);
        });
        socket.on('error', () => undefined).once('close', () => resolve(text));
      });
      if (heard !== 'in') failures.push(`refused by ${port}`);
    } catch (thrown) {
      failures.push(thrown instanceof Error ? thrown.message : String(thrown));
    }
  };
  const loop = async (from: GatewayIdentity, port: number): Promise<void> => {
    while (!until(failures.length)) await once(from, port);
  };
  await Promise.all([loop(a.gateway, b.port), loop(b.gateway, a.port)]);
  return { total, failures };
}

/**
 * Back-dating by a minute puts lives as short as these past their half, less the jitter, from the start: in east renewal
 * without a pause, while west, whose gateway would hear of rosters with each renewal, keeps what it has.
 */
const restless = { lifeMs: 70_000, svidLifeMs: 20_000 };

test('leaves and intermediates renewed under load: no handshake fails, because signing waits for acknowledgements', async (t) => {
  const sites: { west?: Site; east?: Site } = {};
  const unacknowledged = (sequence: number): readonly string[] =>
    (['east', 'west'] as const).filter(
      (name) => (sites[name]?.check.result.current.acknowledged?.rosterSequence ?? 0) < sequence,
    );
  const { clock, inEast, inWest } = await start(t, { ...restless, lagMs: 600, unacknowledged });
  sites.east = inEast;
  sites.west = inWest;
  const intermediates = new Set<string>();
  const leaves = new Set<string>();
  const started = performance.now();
  let handshakes = 0;
  const watch = (): boolean => {
    clock.offsetMs += 2;
    handshakes += 1;
    const [leaf = '', issuer = ''] = keyIdsOf(inEast.gateway.svid.current?.chain);
    leaves.add(leaf);
    intermediates.add(issuer);
    const forMs = performance.now() - started;
    const enough = intermediates.size >= 3 && leaves.size >= 5 && handshakes >= 100;
    return (enough && forMs > 5000) || forMs > 60_000;
  };
  const { total, failures } = await dialAllTheTime(inEast, inWest, watch);
  assert.deepEqual([...new Set(failures)], []);
  assert.ok(intermediates.size >= 3, `${intermediates.size} intermediates were served`);
  assert.ok(leaves.size >= 5, `${leaves.size} leaves`);
  assert.ok(total >= 100, `${total} handshakes`);
});

test('without waiting for acknowledgements handshakes would fail: the test above can', async (t) => {
  const { clock, inEast, inWest } = await start(t, { ...restless, lagMs: 900 });
  // As long as it takes on a machine that is busy with other things.
  const end = performance.now() + 60_000;
  const { failures } = await dialAllTheTime(inEast, inWest, (failed) => {
    clock.offsetMs += 2;
    return failed > 0 || performance.now() > end;
  });
  assert.ok(failures.length > 0, 'some must be refused by a gateway that does not know the key yet');
});
