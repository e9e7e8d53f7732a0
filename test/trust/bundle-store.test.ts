import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import { startRosterReader } from '../../src/federation/io/roster-reader.ts';
import { authorityTrustDomain, parseTrustDomain } from '../../src/model/identity.ts';
import { parseClusterName, parseReplicaName } from '../../src/model/names.ts';
import type { TrustState } from '../../src/model/trust.ts';
import { systemClock } from '../../src/runtime/io/clock.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { BundleHolder } from '../../src/trust/bundle/bundle-holder.ts';
import { sealBundles } from '../../src/trust/bundle/bundle-sealer.ts';
import { initAuthority, openAuthority } from '../../src/trust/io/authority.ts';
import { openBundleStore } from '../../src/trust/io/bundle-store.ts';
import { joinCluster } from '../../src/trust/io/join.ts';
import { createSealer } from '../../src/trust/io/sealer.ts';
import { createSealVerifier } from '../../src/trust/verify/seal-verifier.ts';
import { encodeBundleMap } from '../../src/wire/bundle.ts';
import { publishedBundles } from '../../src/trust/bundle/published.ts';
import { ShiftedClock, eventually, silent, temporaryDir } from './support/environment.ts';
import { federationDomain, leaf, newFederation } from './support/federation.ts';

const authority = authorityTrustDomain(federationDomain);
const td = parseTrustDomain('a.mesh.example');
const sealId = 'spiffe://authority.mesh.example/isthmus/seal/authority';

function setup() {
  const federation = newFederation();
  const trust = new Watchable<TrustState | undefined>(federation.trust);
  const sealer = new Watchable(createSealer(leaf(federation.root, { id: sealId, profile: 'seal' })));
  const clock = new ShiftedClock();
  const verifier = createSealVerifier(trust, clock);
  const sealed = (sequence: number, state: 'active' | 'revoked' = 'active'): Uint8Array => {
    const bundles = publishedBundles(federation.trustWith((entry) => ({ ...entry, state }), { sequence }));
    return sealer.current.seal('bundle', encodeBundleMap(bundles));
  };
  return { ...federation, trust, sealer, clock, verifier, sealed };
}

test('FE-11: BundleHolder takes what the authority sealed, and only what is newer', () => {
  const { verifier, sealer, sealed } = setup();
  const { chain } = sealer.current;
  const holder = new BundleHolder(verifier, authority);
  const offer = (bytes: Uint8Array): string => holder.offer(bytes, chain).result;
  const [five, otherFive] = [sealed(5), sealed(5, 'revoked')];
  assert.equal(offer(five), 'accepted');
  assert.deepEqual(holder.bundles.current.get(td)?.sequence, 5n);
  assert.equal(offer(five), 'known');
  assert.equal(offer(sealed(5)), 'known');
  assert.equal(offer(otherFive), 'conflicting');
  assert.match(holder.problem ?? '', /sequence 5 .* 5 is held, with other keys/);
  assert.equal(offer(sealed(4)), 'older');
  assert.equal(holder.bundles.current.get(td)?.anchors.length, 1);
  assert.equal(offer(sealed(6, 'revoked')), 'accepted');
  assert.equal(holder.bundles.current.get(td)?.anchors.length, 0, 'no last good');
  assert.equal(offer(five), 'older');
  assert.deepEqual(holder.counters, { older: 2, conflicting: 1, refused: 0 });
});

test('BundleHolder: refuses other kinds, other signers, damage and nonsense', () => {
  const { verifier, sealer, sealed, ofA, trust } = setup();
  const holder = new BundleHolder(verifier, authority);
  const { chain } = sealer.current;
  const good = Buffer.from(sealed(5));
  const member = createSealer(leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/seal/one', profile: 'seal' }));
  const map = encodeBundleMap(publishedBundles(trust.current ?? assert.fail()));
  const damaged = Buffer.from(good);
  damaged.writeUInt8(damaged.readUInt8(damaged.length - 2) ^ 1, damaged.length - 2);
  for (const [bytes, signer] of [
    [sealer.current.seal('roster', map), chain],
    [member.seal('bundle', map), member.chain],
    [damaged, chain],
    [good.subarray(0, 20), chain],
    [sealer.current.seal('bundle', Buffer.from('{}')), chain],
    [sealer.current.seal('bundle', Buffer.from('{"trust_domains":{"a.b":{"keys":[]},"a.b":{"keys":[]}}}')), chain],
  ] as const) {
    assert.equal(holder.offer(bytes, signer).result, 'refused');
  }
  assert.equal(holder.bundles.current.size, 0);
  assert.equal(holder.counters.refused, 6);
});

test('BundleHolder: a trust domain that was left out is not trusted, and does not come back older', () => {
  const { verifier, sealer, sealed, trustWith } = setup();
  const holder = new BundleHolder(verifier, authority);
  const { chain } = sealer.current;
  holder.offer(sealed(5), chain);
  const all = publishedBundles(trustWith((entry) => entry, { sequence: 6 }));
  const without = new Map([...all].filter(([domain]) => domain !== td));
  assert.equal(holder.offer(sealer.current.seal('bundle', encodeBundleMap(without)), chain).result, 'accepted');
  assert.equal(holder.bundles.current.has(td), false);
  const stale = new Map(all).set(td, { sequence: 4n, x509Keys: all.get(td)?.x509Keys ?? [] });
  assert.equal(holder.offer(sealer.current.seal('bundle', encodeBundleMap(stale)), chain).result, 'older');
});

test('BundleHolder: a signer whose time has run out confirms, and says nothing new', () => {
  const { verifier, sealer, sealed, clock } = setup();
  const { chain } = sealer.current;
  const holder = new BundleHolder(verifier, authority);
  holder.offer(sealed(5), chain);
  clock.offsetMs = 31 * 86_400_000;
  assert.equal(holder.offer(sealed(5), chain).result, 'known');
  assert.equal(holder.offer(sealed(6), chain).result, 'refused');
});

test('sealBundles: seals anew when the trust or the signer changes, and ends', () => {
  const { trust, sealer, trustWith, root } = setup();
  const source = sealBundles(trust, sealer);
  const seen: (Uint8Array | undefined)[] = [source.bundles.current?.sealed];
  source.bundles.subscribe((bundles) => seen.push(bundles?.sealed));
  trust.set(trustWith((entry) => entry, { sequence: 2 }));
  sealer.set(createSealer(leaf(root, { id: sealId, profile: 'seal' })));
  assert.equal(new Set(seen).size, 3);
  source.close();
  trust.set(trustWith((entry) => entry, { sequence: 3 }));
  assert.equal(seen.length, 3);
});

test('bundle store: a restart forgets nothing, so that nobody can turn bundles back; damage is said', async (t) => {
  const stateDir = await temporaryDir(t);
  const { verifier, sealer, sealed } = setup();
  const { chain } = sealer.current;
  const open = () => openBundleStore({ stateDir, federationDomain, verifier, log: silent });
  const first = await open();
  assert.equal(first.offer(sealed(7), chain).result, 'accepted');
  await first.close();
  const second = await open();
  assert.equal(second.bundles.current.get(td)?.sequence, 7n);
  assert.equal(second.offer(sealed(6), chain).result, 'older');
  assert.equal(second.counters.older, 1);
  await second.close();
  const path = join(stateDir, 'bundles.json');
  const text = await readFile(path, 'utf8');
  const stored = JSON.parse(text) as { sealed: string };
  const broken = Buffer.from(stored.sealed, 'base64');
  broken.writeUInt8(broken.readUInt8(broken.length - 2) ^ 1, broken.length - 2);
  await writeFile(path, JSON.stringify({ ...stored, sealed: broken.toString('base64') }), { mode: 0o600 });
  const third = await open();
  assert.equal(third.bundles.current.size, 0);
  await third.close();
});

test('bundles go from the authority through a hub to a reader; a hub that shows older ones is told of', async (t) => {
  const stateDir = await temporaryDir(t);
  const agentDir = await temporaryDir(t);
  await initAuthority({ stateDir, federationDomain, clock: systemClock, scryptCost: { N: 1024 } });
  const hub = createEmbeddedHub();
  t.after(() => hub.close());
  const listen = { host: '127.0.0.1', port: 0 };
  const running = await openAuthority({ stateDir, listen, clock: systemClock, log: silent, hub });
  t.after(() => running.close());
  const verifier = createSealVerifier(running.trust, systemClock);
  const store = await openBundleStore({ stateDir: agentDir, federationDomain, verifier, log: silent });
  const reader = startRosterReader({
    hub,
    onRoster: () => undefined,
    onBundles: (sealed, chain) => !('detail' in store.offer(sealed, chain)),
    clock: systemClock,
    log: silent,
    pollMs: 50,
  });
  t.after(async () => {
    await reader.close();
    await store.close();
  });
  await eventually('bundles came', () => store.bundles.current.get(authority)?.anchors.length === 1);
  const before = await hub.readSnapshot('authority');
  const { token } = await running.issueToken({ cluster: parseClusterName('east') });
  const replica = parseReplicaName('agent-0');
  const joinDir = await temporaryDir(t);
  await joinCluster({ token, stateDir: joinDir, replica, clock: systemClock, log: silent });
  const east = parseTrustDomain('east.mesh.example');
  await eventually('the bundle of the newcomer', () => store.bundles.current.get(east)?.anchors.length === 1);
  assert.equal(store.bundles.current.get(east)?.sequence, BigInt(running.roster.current.sequence));
  // Somebody who owns the hub puts back what it held.
  const { head } = await hub.readSnapshot('authority');
  await hub.commit('authority', {
    expectedHead: head,
    head: before.head ?? assert.fail('no head'),
    records: before.records,
    snapshot: true,
    delta: undefined,
    hint: 'authority 0 1',
  });
  await eventually('it is told', () => store.counters.older > 0);
  assert.equal(store.bundles.current.get(east)?.anchors.length, 1);
  assert.match(store.problem ?? '', /was offered, .* is held/);
});
