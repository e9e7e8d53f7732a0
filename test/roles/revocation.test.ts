import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import type { ClusterName } from '../../src/model/names.ts';
import { parseClusterName } from '../../src/model/names.ts';
import type { Hub } from '../../src/model/ports/hub.ts';
import type { TrustStatus } from '../../src/model/trust-report.ts';
import { type DemoFederation, east, startDemoFederation, west } from '../../src/roles/demo/federation.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { createLog } from '../../src/runtime/io/log.ts';
import { dialTls, secureContextOf, type TlsMaterial } from '../../src/runtime/io/tls.ts';
import { importPortsFrom } from '../support/ports.ts';

const south = parseClusterName('south');
const log = createLog('test', 'silent');
/** What the federation promises from a revocation to its last refusal. */
const promisedMs = 5000;

/** A hub that can be told to hide everything the authority says from then on. */
function hidingHub(hub: Hub): { readonly hub: Hub; readonly hide: () => void } {
  let hiding = false;
  const frozen = new Map<string, Promise<readonly (Uint8Array | undefined)[]>>();
  return {
    hub: {
      name: hub.name,
      commit: (partition, commit) =>
        hiding && partition === 'authority' ? Promise.resolve({ ok: true }) : hub.commit(partition, commit),
      async readHeads(partitions) {
        const heads = await hub.readHeads(partitions);
        const old = await frozen.get('authority');
        return heads.map((head, index) => (hiding && partitions[index] === 'authority' ? old?.[0] : head));
      },
      readSnapshot: (partition) => hub.readSnapshot(partition),
      readIndex: (partition) => hub.readIndex(partition),
      readRecords: (partition, keys) => hub.readRecords(partition, keys),
      readDeltas: (partition, afterId, limit) => hub.readDeltas(partition, afterId, limit),
      writeChain: (partition, chainId, chain) => hub.writeChain(partition, chainId, chain),
      readChain: (partition, chainId) => hub.readChain(partition, chainId),
      writeLease: (partition, lease, ttlMs) => hub.writeLease(partition, lease, ttlMs),
      readLeases: (partitions) => hub.readLeases(partitions),
      subscribe: (listener) =>
        hub.subscribe((hint) => {
          if (!(hiding && hint.startsWith('authority '))) listener(hint);
        }),
      close: () => hub.close(),
    },
    hide(): void {
      hiding = true;
      frozen.set('authority', hub.readHeads(['authority']));
    },
  };
}

async function start(t: TestContext): Promise<{ readonly federation: DemoFederation; readonly hide: () => void }> {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-revocation-'));
  const { hub, hide } = hidingHub(createEmbeddedHub());
  let federation: DemoFederation | undefined;
  t.after(async () => {
    await federation?.close();
    await hub.close();
    await rm(dir, { recursive: true, force: true });
  });
  federation = await startDemoFederation({
    stateDir: dir,
    hub,
    services: [],
    portsFrom: undefined,
    importPortsFrom: importPortsFrom(),
    clock: systemClock,
    log,
  });
  return { federation, hide };
}

/** Opens a TLS session as `material` says; `accepted` once the server spoke HTTP/2, `closed` when it is gone. */
async function knock(port: number, material: TlsMaterial): Promise<Knock> {
  const { socket } = await dialTls({
    host: '127.0.0.1',
    port,
    context: secureContextOf(material),
    alpn: ['h2'],
    check: () => undefined,
    timeoutMs: 3000,
  });
  const knocked: Knock = { socket, accepted: false, closed: false };
  socket.on('error', () => undefined);
  socket.on('data', () => {
    knocked.accepted = true;
  });
  socket.once('close', () => {
    knocked.closed = true;
  });
  // What every HTTP/2 client says first (RFC 9113 §3.4): the connection preface and its settings.
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
  return knocked;
}

interface Knock {
  readonly socket: TLSSocket;
  accepted: boolean;
  closed: boolean;
}

async function within(ms: number, what: string, look: () => boolean): Promise<number> {
  const start = performance.now();
  while (!look()) {
    assert.ok(performance.now() - start < ms, `not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return performance.now() - start;
}

test('a revoked cluster is refused by every gateway, agent and the authority within 5 s, though the hub hides it', async (t) => {
  const { federation, hide } = await start(t);
  const { authority } = federation.authority;
  const others = [west, south].map((name) => federation.cluster(name));
  const { material, svid } = federation.cluster(east).gateway.identity;
  const own = material.current;
  assert.ok(own && svid.current);
  const agent = federation.cluster(east).parts.ca.listenerMaterial.current;
  assert.ok(agent);
  const doors: readonly (readonly [string, number, TlsMaterial])[] = [
    ...others.map(({ name, gateway }) => [`gateway of ${name}`, gateway.gateway.hbonePort, own] as const),
    ...others.map((each) => [`agent of ${each.name}`, each.agent.grpcPort, agent] as const),
    ['authority', authority.port, agent],
  ];
  const open = await Promise.all(doors.map(async ([what, port, as]) => ({ what, knocked: await knock(port, as) })));
  t.after(() => {
    for (const { knocked } of open) knocked.socket.destroy();
  });
  for (const { what, knocked } of open) await within(20_000, `${what} lets it in before`, () => knocked.accepted);
  for (const { knocked } of open) assert.equal(knocked.closed, false);

  hide();
  await authority.setClusterState(east, 'revoked', 'test');
  const begun = performance.now();
  for (const { what, knocked } of open) await within(promisedMs, `${what} closes what is open`, () => knocked.closed);
  for (const [what, port, as] of doors) {
    const again = await knock(port, as).catch(() => undefined);
    if (!again) continue;
    await within(promisedMs, `${what} refuses`, () => again.closed);
    // The authority listens long enough to say why.
    if (what !== 'authority') assert.equal(again.accepted, false, `${what} lets it in again`);
  }
  const tookMs = performance.now() - begun;
  assert.ok(tookMs < promisedMs, `${Math.round(tookMs)} ms`);
  const { ca } = federation.cluster(east).parts;
  await within(20_000, 'it is told why', () => /cluster east is revoked/.test(ca.status().authority.problem ?? ''));
  for (const { gateway, name } of others) {
    const verdict = gateway.identity.verifier.verify(svid.current.chain);
    assert.equal(verdict.ok ? 'ok' : verdict.reason, 'denied-key', name);
  }
});

test('every replica acknowledges to every cluster what it presents; trust status shows it', async (t) => {
  const { federation } = await start(t);
  const statusOf = (name: ClusterName): TrustStatus => federation.cluster(name).agent.api.trustStatus();
  for (const name of [east, west, south]) {
    const { sequence } = federation.authority.authority.roster.current;
    await within(30_000, `${name} hears of all six`, () => {
      const { replicas } = statusOf(name);
      return (
        replicas.length === 6 && replicas.every((row) => row.rosterSequence === sequence && row.chain.length === 2)
      );
    });
  }
  const status = statusOf(west);
  const ofEast = federation.cluster(east).parts.ca.status();
  const seen = status.replicas.filter(({ cluster }) => cluster === east);
  assert.deepEqual(
    seen.map(({ role, chain }) => [role, chain[1]]),
    [
      ['agent', ofEast.intermediateKeyId],
      ['gateway', ofEast.intermediateKeyId],
    ],
  );
  assert.equal(federation.cluster(west).parts.acknowledgements.missing(status.roster?.sequence ?? 0).length, 0);
  assert.ok(Math.abs(status.clockSkewMs ?? 9999) < 1000, `one clock: ${status.clockSkewMs} ms`);
  assert.equal(status.issued[0]?.keyId, status.intermediate.keyId);
  assert.ok((status.issued[0]?.live ?? 0) >= 3, 'agent, seal and gateway');
  const days = status.survivesAuthorityForMs / 86_400_000;
  assert.ok(days > 59 && days < 61, `${days} days`);
});
