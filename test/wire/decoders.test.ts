import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { IsthmusError } from '../../src/model/error.ts';
import { parseClusterName, parseReplicaName, parseServiceKey } from '../../src/model/names.ts';
import { decodeBundle, decodeBundleMap, encodeBundle, encodeBundleMap } from '../../src/wire/bundle.ts';
import { decodeAdvert, decodeReport, encodeAdvert, ReportEncoder } from '../../src/wire/gateway-report.ts';
import {
  decodeDelta,
  decodeHead,
  decodeLease,
  encodeDelta,
  encodeHead,
  encodeLease,
} from '../../src/wire/partition.ts';
import { decodeRoster, encodeRoster } from '../../src/wire/roster.ts';
import {
  decodeClusterRoute,
  decodeServiceRoute,
  encodeClusterRoute,
  encodeServiceRoute,
} from '../../src/wire/route-table.ts';
import { decodeSeal, encodeSeal } from '../../src/wire/seal.ts';
import { entryOf, rosterOf } from '../federation/support/federation.ts';
import { domainOf } from '../federation/support/seals.ts';

/** Everything that takes bytes from elsewhere and throws for what it does not believe. */

const east = parseClusterName('east');
const instance = parseReplicaName('gw-0');
const digest = 'ab'.repeat(32);
const version = { cluster: east, epoch: 5, revision: 6 };

interface Decoder {
  readonly what: string;
  readonly decode: (bytes: Uint8Array) => unknown;
  readonly good: Uint8Array;
  /** One byte more is refused unread. */
  readonly limit: number;
}

const decoders: readonly Decoder[] = [
  {
    what: 'seal',
    decode: decodeSeal,
    good: encodeSeal({ kind: 'head', chainId: digest, signature: Buffer.alloc(70, 7), payload: Buffer.from('{}') }),
    limit: 8 << 20,
  },
  {
    what: 'head',
    decode: decodeHead,
    good: encodeHead({ ...version, count: 1, digest, schema: 1, writtenAt: 0 }),
    limit: 4096,
  },
  {
    what: 'delta',
    decode: decodeDelta,
    good: encodeDelta({ ...version, previous: 5, ops: new Map([['a', Buffer.from('1')]]), digest }),
    limit: 1 << 20,
  },
  {
    what: 'lease',
    decode: decodeLease,
    good: encodeLease({ cluster: east, epoch: 5, sequence: 1, at: 0 }),
    limit: 4096,
  },
  { what: 'roster', decode: decodeRoster, good: encodeRoster(rosterOf(entryOf(east))), limit: 4 << 20 },
  { what: 'bundle', decode: decodeBundle, good: encodeBundle({ sequence: 7n, x509Keys: [] }), limit: 1 << 20 },
  {
    what: 'bundle map',
    decode: decodeBundleMap,
    good: encodeBundleMap(new Map([[domainOf('east'), { sequence: 7n, x509Keys: [] }]])),
    limit: 8 << 20,
  },
  {
    what: 'service route',
    decode: decodeServiceRoute,
    good: encodeServiceRoute({
      key: parseServiceKey('shop/web'),
      ports: [{ port: 80, importPort: 20_000 }],
      exported: true,
      allow: 'members',
      targets: [{ cluster: east, tier: 0, capacity: 2, health: 1, ports: [80], stale: false }],
      failover: { holdMs: 1000, returnOverMs: 3000, healthyThreshold: 0.7 },
      endpoints: [],
    }),
    limit: 1 << 20,
  },
  {
    what: 'cluster route',
    decode: decodeClusterRoute,
    good: encodeClusterRoute({
      name: east,
      trustDomain: domainOf('east'),
      gateways: [{ instance, address: '127.0.0.1', port: 15_008 }],
    }),
    limit: 1 << 20,
  },
  {
    what: 'report',
    decode: decodeReport,
    good: new ReportEncoder().encode({
      instance,
      version: '0.1.0',
      ready: true,
      draining: false,
      tableDigest: 'ab',
      links: [{ cluster: east, instance, address: '127.0.0.1:15008', up: true, loss: 0, forMs: 10 }],
      services: [],
    }),
    limit: 4 << 20,
  },
  {
    what: 'advert',
    decode: decodeAdvert,
    good: encodeAdvert({
      addresses: [{ address: '127.0.0.1', port: 15_008, kind: 'instance', instances: 1 }],
      version: '0.1.0',
    }),
    limit: 65_536,
  },
];

/** The only way to refuse: what it was, and why, in a line that a stranger cannot make long. */
function decodes({ decode }: Decoder, bytes: Uint8Array): boolean {
  try {
    decode(bytes);
    return true;
  } catch (thrown) {
    assert.ok(thrown instanceof IsthmusError, String(thrown));
    assert.equal(thrown.code, 'corrupt');
    assert.ok(thrown.message.length > 20 && thrown.message.length < 800, thrown.message);
    return false;
  }
}

for (const decoder of decoders) {
  const { what, good, limit } = decoder;
  test(`${what}: the good is read; cut, damaged, too large or anything else is corrupt, and says why`, () => {
    assert.ok(decodes(decoder, good));
    for (const bad of [Buffer.alloc(0), Buffer.from('{}'), Buffer.from('null'), Buffer.from([0xff, 0xfe])]) {
      assert.ok(!decodes(decoder, bad), `${what} takes ${bad.toString('hex')}`);
    }
    for (let length = 0; length < good.length - 2; length += 1) {
      // A signature may end anywhere, and what follows it is for others to read.
      if (what === 'seal' && length >= 38 + 70) break;
      assert.ok(!decodes(decoder, good.subarray(0, length)), `${what} of ${length} bytes`);
    }
    assert.throws(() => decoder.decode(Buffer.alloc(limit + 1, 0x20)), /over the limit/);
    const damaged = fc
      .tuple(fc.nat(good.length - 1), fc.nat(255))
      .map(([at, byte]) => Buffer.concat([good.subarray(0, at), Buffer.of(byte), good.subarray(at + 1)]));
    const anything = fc.json().map((text) => Buffer.from(text));
    fc.assert(
      fc.property(
        fc.oneof(damaged, fc.uint8Array({ maxLength: 200 }), anything),
        (bytes) => void decodes(decoder, bytes),
      ),
      { numRuns: 300 },
    );
  });
}
