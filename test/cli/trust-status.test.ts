import assert from 'node:assert/strict';
import { test } from 'node:test';
import { render } from '../../src/cli/view.ts';
import { trustStatusView } from '../../src/cli/views/trust-status.ts';
import type { TrustStatus } from '../../src/model/trust-report.ts';

const hour = 3_600_000;

const status: TrustStatus = {
  cluster: 'east',
  replica: 'agent-0',
  federationDomain: 'mesh.example',
  trustDomain: 'east.mesh.example',
  roster: { sequence: 7, ageMs: 60_000 },
  refusedRosters: { older: 1, conflicting: 0, unverified: 0 },
  authority: { connected: false, forMs: 5000, lastError: 'connection refused' },
  clockSkewMs: -120,
  intermediate: {
    keyId: 'aaaaaaaaaaaa',
    expiresInMs: 30 * 24 * hour,
    next: { keyId: 'bbbbbbbbbbbb', waitsFor: ['west/gateway-0'], atLatestInMs: 300_000 },
  },
  survivesAuthorityForMs: 12 * 24 * hour,
  survivalEndsWith: 'west/agent-0',
  replicas: [
    {
      cluster: 'east',
      role: 'gateway',
      replica: 'gateway-0',
      chain: ['1111111122', 'aaaaaaaaaaaa'],
      leafExpiresInMs: 11 * hour,
      issuerExpiresInMs: 30 * 24 * hour,
      rosterSequence: 7,
      bundleSequence: 7,
      provedAgoMs: 2000,
      clockSkewMs: 30,
    },
    { cluster: 'west', role: 'gateway', replica: 'gateway-0', chain: [], message: 'says nothing' },
  ],
  issued: [{ keyId: 'aaaaaaaaaaaa', live: 3, lastExpiresInMs: 11 * hour }],
  journal: { records: 9, head: 'cafe'.repeat(16) },
};

const table = (changes: Partial<TrustStatus> = {}): string =>
  render(trustStatusView({ ...status, ...changes }), { format: 'table', headers: true, colour: false });

test('trust status: who presents what, until when, and what is waited for', () => {
  const text = table();
  assert.match(text, /^Roster +7, 60s old; refused 1 older, 0 conflicting, 0 unverified$/m);
  assert.match(text, /^Authority +not connected for 5\.0s: connection refused$/m);
  assert.match(text, /^Clock +-120ms against the authority$/m);
  assert.match(text, /^Next +bbbbbbbb, waits for west\/gateway-0, at the latest in 5m$/m);
  assert.match(text, /runs 12d without its authority \(west\/agent-0\)/);
  assert.match(text, /^east +gateway +gateway-0 +11111111<aaaaaaaa +11h +30d +7 +7 +\+30ms +-$/m);
  assert.match(text, /^west +gateway +gateway-0 .*says nothing$/m);
  assert.match(text, /1 proved nothing, 0 not on this roster: west\/gateway-0\.\n$/);
});

test('trust status: a verdict that fits', () => {
  const [first] = status.replicas;
  assert.ok(first);
  assert.match(table({ replicas: [first] }), /All 1 replica proved what they present/);
  assert.match(table({ replicas: [{ ...first, rosterSequence: 6 }] }), /1 not on this roster: east\/gateway-0/);
  assert.match(table({ intermediate: { keyId: 'aa', expiresInMs: -1 } }), /The intermediate of east has expired\./);
});

test('trust status: JSON is what the agent said, names are of the replicas', () => {
  const view = trustStatusView(status);
  const options = { headers: true, colour: false };
  assert.deepEqual(JSON.parse(render(view, { ...options, format: 'json' })), status);
  assert.equal(render(view, { ...options, format: 'name' }), 'gateway/east/gateway-0\ngateway/west/gateway-0\n');
});
