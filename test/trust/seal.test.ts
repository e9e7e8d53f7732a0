import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpiffeId } from '../../src/model/identity.ts';
import type { SealVerdict } from '../../src/model/ports/seal.ts';
import type { TrustState } from '../../src/model/trust.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { createSealer } from '../../src/trust/io/sealer.ts';
import { RosterHolder } from '../../src/trust/roster-holder.ts';
import { createSealVerifier } from '../../src/trust/verify/seal-verifier.ts';
import { encodeRoster } from '../../src/wire/roster.ts';
import {
  a,
  b,
  domainOf,
  entryOf,
  federationDomain,
  leaf,
  newFederation,
  newRoot,
  now,
  rosterOf,
} from './support/federation.ts';

const sealOfA = 'spiffe://a.mesh.example/isthmus/seal/one';
const payload = Buffer.from('revision 7');

function said(verdict: SealVerdict): string {
  return verdict.ok ? (verdict.expired ? 'expired' : 'ok') : verdict.reason;
}

function setup(nameConstraints: boolean = true) {
  const federation = newFederation(nameConstraints);
  const source = new Watchable<TrustState | undefined>(federation.trust);
  const clock = { at: now, now: (): number => clock.at };
  return { ...federation, source, clock, verifier: createSealVerifier(source, clock) };
}

test('a seal is good for its kind, its cluster and its bytes only', () => {
  const { ofA, verifier } = setup();
  const sealer = createSealer(leaf(ofA, { id: sealOfA, profile: 'seal' }));
  const sealed = sealer.seal('head', payload);
  const unknown = verifier.verify('head', sealed, domainOf(a));
  assert.deepEqual(!unknown.ok && unknown.reason === 'unknown-chain' && unknown.chainId, sealer.chainId);
  assert.equal(verifier.learn('0'.repeat(64), sealer.chain), false);
  assert.equal(verifier.learn(sealer.chainId, sealer.chain), true);
  const good = verifier.verify('head', sealed, domainOf(a));
  assert.deepEqual(good.ok && [Buffer.from(good.payload).toString(), good.signer, good.expired], [
    'revision 7',
    sealOfA,
    false,
  ]);
  assert.equal(said(verifier.verify('lease', sealed, domainOf(a))), 'malformed');
  assert.equal(said(verifier.verify('head', sealed, domainOf(b))), 'foreign-signer');
  // The kind in the envelope is not enough: it is signed too.
  const renamed = Buffer.from(sealed);
  renamed.writeUInt8(3, 3);
  assert.equal(said(verifier.verify('lease', renamed, domainOf(a))), 'bad-signature');
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed);
    changed.writeUInt8((changed[at] ?? 0) ^ 0x40, at);
    assert.equal(verifier.verify('head', changed, domainOf(a)).ok, false, `byte ${at}`);
    assert.equal(verifier.verify('head', sealed.subarray(0, at), domainOf(a)).ok, false, `length ${at}`);
  }
});

test('who may seal: no gateway, no other member, no revoked one', () => {
  for (const nameConstraints of [true, false]) {
    const { ofA, ofB, source, trustWith, verifier } = setup(nameConstraints);
    const sealWith = (sealer: ReturnType<typeof createSealer>): Uint8Array => {
      verifier.learn(sealer.chainId, sealer.chain);
      return sealer.seal('head', payload);
    };
    const gateway = sealWith(createSealer(leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/gateway/g' })));
    assert.equal(said(verifier.verify('head', gateway, domainOf(a))), 'foreign-signer');
    const forged = sealWith(createSealer(leaf(ofB, { id: sealOfA, profile: 'seal' })));
    assert.equal(said(verifier.verify('head', forged, domainOf(a))), 'distrusted');
    const good = sealWith(createSealer(leaf(ofA, { id: sealOfA, profile: 'seal' })));
    assert.equal(said(verifier.verify('head', good, domainOf(a))), 'ok');
    for (const state of ['suspended', 'revoked'] as const) {
      source.set(trustWith((entry) => ({ ...entry, state })));
      assert.equal(said(verifier.verify('head', good, domainOf(a))), 'distrusted');
    }
  }
});

test('an expired signer is good and marked', () => {
  const { ofA, clock, verifier } = setup();
  const svid = leaf(ofA, { id: sealOfA, profile: 'seal' });
  const sealer = createSealer(svid);
  verifier.learn(sealer.chainId, sealer.chain);
  const sealed = sealer.seal('head', payload);
  clock.at = svid.notAfter + 1000;
  assert.equal(said(verifier.verify('head', sealed, domainOf(a))), 'expired');
  clock.at = svid.notBefore - 1000;
  assert.equal(said(verifier.verify('head', sealed, domainOf(a))), 'distrusted');
});

test('RosterHolder takes the newest roster of the authority and nothing else', () => {
  const { root, ofA, ofB } = newFederation();
  const clock = { at: now, now: (): number => clock.at };
  const svid = leaf(root, { id: 'spiffe://authority.mesh.example/isthmus/seal/authority', profile: 'seal' });
  const sealer = createSealer(svid);
  const holder = new RosterHolder({ federationDomain, anchors: [root.certificate], clock });
  const offer = (sequence: number, entries = [entryOf(a, [ofA])], by = sealer): string =>
    holder.offer(by.seal('roster', encodeRoster(rosterOf(entries, { sequence }))), by.chain).result;
  assert.equal(holder.trust.current, undefined);
  assert.equal(offer(2), 'accepted');
  assert.equal(offer(2), 'known');
  assert.equal(offer(1), 'older');
  assert.equal(offer(2, [entryOf(b, [ofB])]), 'conflicting');
  assert.equal(offer(3, [], createSealer(leaf(ofA, { id: sealOfA, profile: 'seal' }))), 'refused');
  assert.equal(offer(3, [], createSealer(leaf(newRoot(), { id: parseSpiffeId(svid.id), profile: 'seal' }))), 'refused');
  assert.equal(
    offer(
      3,
      [],
      createSealer(leaf(root, { id: 'spiffe://authority.mesh.example/isthmus/seal/other', profile: 'seal' })),
    ),
    'refused',
  );
  assert.equal(holder.roster?.sequence, 2);
  assert.deepEqual(holder.counters, { older: 1, conflicting: 1, refused: 3 });
  clock.at = svid.notAfter + 1000;
  assert.equal(offer(4), 'refused');
});
