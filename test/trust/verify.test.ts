import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TrustState } from '../../src/model/trust.ts';
import { issue, issuerOf } from '../../src/trust/io/issuer.ts';
import { createPeerVerifier } from '../../src/trust/verify/peer-verifier.ts';
import { parseSpiffeId } from '../../src/model/identity.ts';
import { Watchable } from '../../src/runtime/watchable.ts';
import { initialTrust, trustStateOf } from '../../src/trust/verify/trust-state.ts';
import {
  domainOf,
  federationDomain,
  leaf,
  newFederation,
  newIntermediate,
  newRoot,
  now,
  a,
} from './support/federation.ts';

function verdictOf(chain: readonly Uint8Array[], trust: TrustState, at: number = now): string {
  const verdict = createPeerVerifier(new Watchable<TrustState | undefined>(trust), { now: () => at }).verify(chain);
  return verdict.ok ? `ok ${verdict.id} of ${verdict.cluster ?? 'the authority'}` : verdict.reason;
}

const gatewayOfA = 'spiffe://a.mesh.example/isthmus/gateway/g';
const gatewayOfB = 'spiffe://b.mesh.example/isthmus/gateway/g';

test('peer verifier accepts members and the authority, with or without the anchor at the end', () => {
  const { root, ofA, trust } = newFederation();
  const { chain } = leaf(ofA, { id: gatewayOfA });
  assert.equal(verdictOf(chain, trust), `ok ${gatewayOfA} of a`);
  assert.equal(verdictOf([...chain, root.certificate], trust), `ok ${gatewayOfA} of a`);
  const id = 'spiffe://authority.mesh.example/isthmus/authority';
  assert.equal(verdictOf(leaf(root, { id, profile: 'authority' }).chain, trust), `ok ${id} of the authority`);
});

for (const nameConstraints of [true, false]) {
  test(`a member cannot mint another (name constraints: ${nameConstraints})`, () => {
    const { ofA, trust } = newFederation(nameConstraints);
    const forged = leaf(ofA, { id: gatewayOfB });
    assert.equal(verdictOf(forged.chain, trust), nameConstraints ? 'profile' : 'issuer-binding');
    const authority = leaf(ofA, { id: 'spiffe://authority.mesh.example/isthmus/authority' });
    assert.equal(verdictOf(authority.chain, trust), nameConstraints ? 'profile' : 'issuer-binding');
  });
}

test('an intermediate named for a trust domain but not in the roster issues for nobody', () => {
  const { root, trust } = newFederation();
  const unlisted = newIntermediate(root, a);
  assert.equal(verdictOf(leaf(unlisted, { id: gatewayOfA }).chain, trust), 'issuer-binding');
});

test('the root itself cannot stand in for an intermediate of a member', () => {
  const { root, trust } = newFederation();
  assert.equal(verdictOf(leaf(root, { id: gatewayOfA }).chain, trust), 'issuer-binding');
});

test('roster state and deny-list decide at once', () => {
  const { ofA, ofB, trustWith } = newFederation();
  const ofOne = leaf(ofA, { id: gatewayOfA }).chain;
  const other = leaf(ofB, { id: gatewayOfB }).chain;
  const suspended = trustWith((entry) => (entry.cluster === 'a' ? { ...entry, state: 'suspended' } : entry));
  assert.equal(verdictOf(ofOne, suspended), 'cluster-suspended');
  assert.equal(verdictOf(other, suspended), `ok ${gatewayOfB} of b`);
  assert.equal(
    verdictOf(
      ofOne,
      trustWith((entry) => ({ ...entry, state: 'revoked' })),
    ),
    'cluster-revoked',
  );
  const denied = trustWith((entry) => entry, { deniedKeyIds: [ofA.signer.keyId] });
  assert.equal(verdictOf(ofOne, denied), 'denied-key');
});

test('a verifier forgets what it knew when the trust changes', () => {
  const { ofA, trust, trustWith } = newFederation();
  const source = new Watchable<TrustState | undefined>(trust);
  const verifier = createPeerVerifier(source, { now: () => now });
  const { chain } = leaf(ofA, { id: gatewayOfA });
  assert.equal(verifier.verify(chain).ok, true);
  source.set(trustWith((entry) => ({ ...entry, state: 'revoked' })));
  assert.equal(verifier.verify(chain).ok, false);
  source.set(undefined);
  assert.equal(verifier.verify(chain).ok, false);
});

test('signatures that were checked before count for nothing under other anchors', () => {
  const { ofA, trust, root } = newFederation();
  const chain = leaf(ofA, { id: gatewayOfA }).chain;
  const source = new Watchable<TrustState | undefined>(trust);
  const verifier = createPeerVerifier(source, { now: () => now });
  assert.equal(verifier.verify(chain).ok, true);
  source.set(trustStateOf(trust.roster, [newRoot().certificate]));
  const verdict = verifier.verify(chain);
  assert.equal(verdict.ok ? 'ok' : verdict.reason, 'untrusted-issuer');
  source.set(trustStateOf(trust.roster, [newRoot().certificate, root.certificate]));
  assert.equal(verifier.verify(chain).ok, true);
  const [first = new Uint8Array(), ...rest] = chain;
  const damaged = Buffer.from(first);
  damaged.writeUInt8((damaged.at(-1) ?? 0) ^ 1, damaged.length - 1);
  for (const state of [trust, trustStateOf(trust.roster, [root.certificate])]) {
    source.set(state);
    assert.equal(verifier.verify([damaged, ...rest]).ok, false, 'a bad signature stays bad');
  }
});

test('time is looked at each time', () => {
  const { ofA, trust } = newFederation();
  const svid = leaf(ofA, { id: gatewayOfA, lifeMs: 3_600_000 });
  assert.equal(verdictOf(svid.chain, trust, svid.notAfter), `ok ${gatewayOfA} of a`);
  assert.equal(verdictOf(svid.chain, trust, svid.notAfter + 1000), 'expired');
  assert.equal(verdictOf(svid.chain, trust, svid.notBefore - 1000), 'not-yet-valid');
});

test('foreign roots, other trust domains, seal leaves, missing and broken certificates are refused', () => {
  const { ofA, trust } = newFederation();
  const foreign = newIntermediate(newRoot(), a);
  assert.equal(verdictOf(leaf(foreign, { id: gatewayOfA }).chain, trust), 'untrusted-issuer');
  assert.equal(verdictOf(leaf(ofA, { id: 'spiffe://c.mesh.example/x' }).chain, trust), 'unknown-trust-domain');
  assert.equal(
    verdictOf(leaf(ofA, { id: 'spiffe://a.mesh.example/isthmus/seal/one', profile: 'seal' }).chain, trust),
    'profile',
  );
  assert.equal(verdictOf(leaf(ofA, { id: 'spiffe://a.mesh.example' }).chain, trust), 'profile');
  assert.equal(verdictOf([], trust), 'no-certificate');
  assert.equal(verdictOf([Buffer.from('nonsense')], trust), 'malformed');
  const { chain } = leaf(ofA, { id: gatewayOfA });
  assert.equal(verdictOf(chain.slice(0, 1), trust), 'untrusted-issuer');
  assert.equal(verdictOf([...chain, ...chain, ...chain, ...chain], trust), 'malformed');
  assert.equal(verdictOf([ofA.certificate], trust), 'profile');
});

test('a leaf cannot sign: what it issued is refused', () => {
  const { ofA, trust } = newFederation();
  const middle = leaf(ofA, { id: gatewayOfA });
  const [certificate = new Uint8Array(), intermediate = new Uint8Array()] = middle.chain;
  const { signer } = ofA;
  const fake = issuerOf(certificate, signer);
  const { certificate: below } = issue(fake, {
    profile: 'leaf',
    uri: parseSpiffeId(gatewayOfA),
    spki: signer.spki,
    now,
  });
  assert.notEqual(verdictOf([below, certificate, intermediate], trust).slice(0, 2), 'ok');
});

test('every changed bit of a leaf is refused', () => {
  const { ofA, trust } = newFederation();
  const { chain } = leaf(ofA, { id: gatewayOfA });
  const [first = new Uint8Array(), second = new Uint8Array()] = chain;
  for (let bit = 0; bit < first.length * 8; bit += 7) {
    const changed = Buffer.from(first);
    changed.writeUInt8((changed[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
    assert.notEqual(verdictOf([changed, second], trust).slice(0, 2), 'ok', `bit ${bit}`);
  }
});

test('before there is a roster, an own agent is still told from one that another member minted', () => {
  const { root, ofA, ofB } = newFederation(false);
  const trust = initialTrust(federationDomain, [root.certificate], domainOf(a));
  const source = new Watchable<TrustState | undefined>(trust);
  const verifier = createPeerVerifier(source, { now: () => now }, { binding: 'trust-domain' });
  const agentOfA = 'spiffe://a.mesh.example/isthmus/agent/one';
  assert.equal(verifier.verify(leaf(ofA, { id: agentOfA }).chain).ok, true);
  const forged = verifier.verify(leaf(ofB, { id: agentOfA }).chain);
  assert.equal(!forged.ok && forged.reason, 'issuer-binding');
});
