import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { domainId } from '../../src/model/identity.ts';
import { agentFiles } from '../../src/trust/io/agent-files.ts';
import type { IntermediateResponse } from '../../src/trust/io/authority-api.ts';
import { ClusterIntermediates } from '../../src/trust/io/cluster-intermediates.ts';
import { type Issuer, issue } from '../../src/trust/io/issuer.ts';
import { generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { toBase64 } from '../../src/trust/io/state-file.ts';
import { caName } from '../../src/trust/x509/certificate.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';
import { Endings } from './support/endings.ts';
import { ShiftedClock } from './support/environment.ts';
import { a, b, domainOf, federationDomain, newRoot } from './support/federation.ts';

const dayMs = 86_400_000;

/** Signed as an authority does. */
function sign(
  root: Issuer,
  spki: Uint8Array,
  changes: { cluster?: typeof a; lifeMs?: number; at?: number } = {},
): Buffer {
  const { cluster = a, lifeMs = 60 * dayMs, at = Date.now() } = changes;
  const uri = domainId(domainOf(cluster));
  const subject = caName(federationDomain, cluster, 'x');
  const permitted = domainOf(cluster);
  return Buffer.from(
    issue(root, { profile: 'intermediate', uri, subject, spki, permitted, lifeMs, now: at }).certificate,
  );
}

function answer(certificate: Buffer): IntermediateResponse {
  return { chain: [certificate], roster: null, federationDomain, pending: false, hub: null };
}

async function setup(t: TestContext) {
  const clock = new ShiftedClock();
  const root = newRoot();
  const { intermediates: file } = agentFiles(await new Endings(t).directory());
  const keyPem = generateKeyPem();
  const certificate = sign(root, signerOf(keyPem).spki, { lifeMs: 30 * dayMs });
  await file.write({ version: 1, active: { certificate: toBase64(certificate), keyPem } });
  const missing: string[] = [];
  const intermediates = await ClusterIntermediates.open({
    file,
    trustDomain: domainOf(a),
    anchors: [root.certificate],
    clock,
    svidLifeMs: dayMs,
    activationMaxMs: 60_000,
    missingAcks: () => missing,
  });
  return { clock, root, intermediates, missing };
}

test('an intermediate that is not ours, by our root, for long enough, is never taken', async (t) => {
  const { root, intermediates } = await setup(t);
  const first = intermediates.issuer.signer.keyId;
  const refuse = async (make: (spki: Uint8Array) => Buffer, rule: RegExp): Promise<void> => {
    const { csr, accept } = await intermediates.nextRequest();
    await assert.rejects(accept(answer(make(parseCsr(csr).spki))), rule);
    assert.equal(intermediates.pending, undefined);
  };
  await refuse((spki) => sign(newRoot(), spki), /its issuer is not the anchor/);
  await refuse(() => sign(root, signerOf(generateKeyPem()).spki), /its key is not the one asked for/);
  await refuse((spki) => sign(root, spki, { cluster: b }), /its only name must be spiffe:\/\/a\.mesh\.example/);
  await refuse((spki) => sign(root, spki, { lifeMs: 20 * dayMs }), /ends no later/);
  await refuse((spki) => sign(root, spki, { at: Date.now() - 90 * dayMs }), /it ended at/);
  await refuse(() => Buffer.alloc(10), /DER|malformed|certificate/i);
  assert.equal(await intermediates.activateWhenKnown(), undefined);
  assert.equal(intermediates.issuer.signer.keyId, first);
});

test('one that is good waits for those who do not know it, no longer than its bound, and then signs', async (t) => {
  const { clock, root, intermediates, missing } = await setup(t);
  const { csr, accept } = await intermediates.nextRequest();
  const { spki } = parseCsr(csr);
  await accept(answer(sign(root, spki)));
  missing.push('west/gateway-0');
  assert.equal(await intermediates.activateWhenKnown(), undefined);
  assert.deepEqual(intermediates.pending?.missing, ['west/gateway-0']);
  clock.pass(61_000);
  const activation = await intermediates.activateWhenKnown();
  assert.deepEqual([activation?.missing, activation?.reason], [['west/gateway-0'], 'the longest wait is over']);
  assert.equal(activation?.keyId, intermediates.issuer.signer.keyId);
  assert.ok(Buffer.from(intermediates.issuer.signer.spki).equals(spki));
  assert.equal(intermediates.pending, undefined);
});
