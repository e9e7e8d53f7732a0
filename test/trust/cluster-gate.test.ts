import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../src/model/error.ts';
import { parseSpiffeId, type SpiffeId } from '../../src/model/identity.ts';
import { createCsr, generateKeyPem, signerOf } from '../../src/trust/io/keys.ts';
import { clampLife, CsrGate, type CsrGateOptions, type GateRequest } from '../../src/trust/issue/csr-gate.ts';
import { RequestLimiter, type RequestLimits } from '../../src/trust/issue/request-limiter.ts';
import { encodeCsrInfo } from '../../src/trust/x509/csr.ts';
import * as der from '../../src/trust/x509/der.ts';
import { oids } from '../../src/trust/x509/oids.ts';

const id = parseSpiffeId('spiffe://east.mesh.example/ns/shop/sa/web');
const wide: RequestLimits = {
  global: { perSecond: 1e6, burst: 1e6 },
  renewalReserve: 0,
  source: { perSecond: 1e6, burst: 1e6 },
  identity: { perSecond: 1e6, burst: 1e6 },
};

function gateOf(changes: Partial<CsrGateOptions> = {}, limits: RequestLimits = wide): CsrGate {
  return new CsrGate({
    limiter: new RequestLimiter(limits, 0),
    keyTypes: ['p256', 'p384', 'rsa'],
    keyProblem: () => undefined,
    life: { minMs: 60_000, maxMs: 3_600_000 },
    ...changes,
  });
}

function request(csr: Uint8Array, changes: Partial<GateRequest> = {}): GateRequest {
  return { csr, identity: id, kind: 'join', idOf: () => id, now: 0, ...changes };
}

const good = createCsr(signerOf(generateKeyPem()));

/** A request that is right but for its key. */
function csrOf(key: { publicKey: KeyObject; privateKey: KeyObject }, algorithm: string): Uint8Array {
  const info = encodeCsrInfo(key.publicKey.export({ format: 'der', type: 'spki' }));
  const signature = sign('sha256', info, { key: key.privateKey, dsaEncoding: 'der' });
  const parts = [der.decodeOwnDer(info), der.sequence(der.oid(algorithm)), der.bitString(signature)];
  return der.encodeDer(der.sequence(...parts));
}

test('the gate: a good request is admitted for the id that we computed, with nothing else of it', async () => {
  const admitted = await gateOf().admit(request(good, { lifeMs: 120_000 }));
  assert.deepEqual(Object.keys(admitted).sort(), ['id', 'keyId', 'lifeMs', 'spki']);
  assert.equal(admitted.id, id);
  assert.equal(admitted.lifeMs, 120_000);
});

test('the gate: mutated DER never throws anything but a refusal, and never issues', async () => {
  const gate = gateOf({ keyTypes: ['p256'] });
  const mutation = fc.record({ at: fc.nat(good.length - 1), flip: fc.integer({ min: 1, max: 255 }) });
  const cut = fc.nat(good.length - 1);
  await fc.assert(
    fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.option(cut), async (mutations, end) => {
      const bytes = Buffer.from(good);
      for (const { at, flip } of mutations) bytes.writeUInt8(bytes.readUInt8(at) ^ flip, at);
      const mutated = end === null ? bytes : bytes.subarray(0, end);
      if (mutated.equals(good)) return;
      await assert.rejects(
        gate.admit(request(mutated)),
        (thrown) => thrown instanceof IsthmusError && thrown.code === 'invalid',
      );
    }),
    { numRuns: 3000 },
  );
});

test('the gate: arbitrary bytes are refused', async () => {
  const gate = gateOf();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => {
      await assert.rejects(gate.admit(request(bytes)), { code: 'invalid' });
    }),
    { numRuns: 1000 },
  );
});

test('the gate: too large is refused before anything is counted or read', async () => {
  const one = { perSecond: 0.001, burst: 1 };
  const gate = gateOf({}, { ...wide, identity: one });
  await assert.rejects(gate.admit(request(Buffer.alloc(16_385))), /16385 bytes are over the limit of 16384/);
  await gate.admit(request(good));
});

test('the gate: the rate comes before the cost of reading', async () => {
  const gate = gateOf({}, { ...wide, identity: { perSecond: 0.001, burst: 1 } });
  await assert.rejects(gate.admit(request(Buffer.alloc(10))), { code: 'invalid' });
  await assert.rejects(gate.admit(request(Buffer.alloc(10))), { code: 'exhausted' });
});

test('the gate: renewals go before joins', async () => {
  const limits = { ...wide, global: { perSecond: 1, burst: 4 }, renewalReserve: 0.5 };
  const gate = gateOf({}, limits);
  const join = (now: number): Promise<unknown> => gate.admit(request(good, { now }));
  const renew = (now: number): Promise<unknown> => gate.admit(request(good, { now, kind: 'renewal' }));
  await join(0);
  await join(0);
  await assert.rejects(join(0), /try again in 1000 ms/);
  await renew(0);
  await renew(0);
  await assert.rejects(renew(0), { code: 'exhausted', retryAfterMs: 1000 });
  await renew(1000);
  await assert.rejects(join(1000), { code: 'exhausted' });
  await join(5000);
});

test('the gate: keys of other types and sizes are refused, naming what would be right', async () => {
  const gate = gateOf();
  const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' });
  const ed25519 = generateKeyPairSync('ed25519');
  const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const exponent = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });
  const right = /P-256, P-384 or RSA 2048 to 4096 with e=65537/;
  await assert.rejects(gate.admit(request(csrOf(p521, oids.ecdsaSha256))), right);
  await assert.rejects(gate.admit(request(csrOf(small, oids.rsaSha256))), right);
  await assert.rejects(gate.admit(request(csrOf(exponent, oids.rsaSha256))), right);
  const info = encodeCsrInfo(ed25519.publicKey.export({ format: 'der', type: 'spki' }));
  const parts = [
    der.decodeOwnDer(info),
    der.sequence(der.oid('1.3.101.112')),
    der.bitString(sign(null, info, ed25519.privateKey)),
  ];
  await assert.rejects(gate.admit(request(der.encodeDer(der.sequence(...parts)))), right);
  const rsa = csrOf(generateKeyPairSync('rsa', { modulusLength: 2048 }), oids.rsaSha256);
  await gate.admit(request(rsa));
  await gate.admit(request(csrOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }), oids.ecdsaSha256)));
  await assert.rejects(gateOf({ keyTypes: ['p256'] }).admit(request(rsa)), /must be p256: it is rsa/);
});

test('the gate: without proof of possession of the key nothing is admitted', async () => {
  const [mine, other] = [
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ];
  const stolen = csrOf({ publicKey: other.publicKey, privateKey: mine.privateKey }, oids.ecdsaSha256);
  await assert.rejects(gateOf().admit(request(stolen)), /does not prove possession/);
});

test('the gate: the id is computed after the proof, key reuse is judged with it', async () => {
  const order: string[] = [];
  const idOf = (): SpiffeId => {
    order.push('id');
    return id;
  };
  const keyProblem = (keyId: string, of: SpiffeId): string | undefined => {
    order.push(`key for ${of}`);
    return order.length > 2 ? `key ${keyId} is taken` : undefined;
  };
  const gate = gateOf({ keyProblem });
  await assert.rejects(gate.admit(request(Buffer.from('junk'), { idOf })));
  assert.deepEqual(order, [], 'nothing is computed for junk');
  await gate.admit(request(good, { idOf }));
  assert.deepEqual(order, ['id', `key for ${id}`]);
  await assert.rejects(gate.admit(request(good, { idOf })), { code: 'denied' });
});

test('clampLife: within bounds; nothing sensible asked for is the longest', () => {
  const rule = { minMs: 60_000, maxMs: 3_600_000 };
  for (const [asked, granted] of [
    [undefined, 3_600_000],
    [0, 3_600_000],
    [-5, 3_600_000],
    [Number.NaN, 3_600_000],
    [1, 60_000],
    [120_000, 120_000],
    [Number.POSITIVE_INFINITY, 3_600_000],
  ] as const) {
    assert.equal(clampLife(asked, rule), granted, String(asked));
  }
});
