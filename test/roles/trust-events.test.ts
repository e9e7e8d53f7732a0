import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseAgentConfig } from '../../src/config/agent.ts';
import { parseAuthorityConfig } from '../../src/config/authority.ts';
import { readDocument } from '../../src/config/document.ts';
import type { Validated } from '../../src/config/validate.ts';
import { createEmbeddedHub } from '../../src/federation/io/embedded-hub.ts';
import { parseClusterName } from '../../src/model/names.ts';
import { authorityPartition as partition } from '../../src/model/ports/hub.ts';
import { startAgent } from '../../src/roles/agent.ts';
import { startAuthority } from '../../src/roles/authority.ts';
import { systemClock as clock } from '../../src/runtime/io/clock.ts';
import { publishedBundles } from '../../src/trust/bundle/published.ts';
import { initAuthority } from '../../src/trust/io/authority.ts';
import { openAuthorityKeys } from '../../src/trust/io/authority-keys.ts';
import { createSealer } from '../../src/trust/io/sealer.ts';
import { bundlesRecordKey, encodeBundleMap } from '../../src/wire/bundle.ts';
import { encodeRoster } from '../../src/wire/roster.ts';
import { eventually, silent as log } from '../trust/support/environment.ts';

const east = parseClusterName('east');

function accepted<T>(parsed: Validated<T>): T {
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

test('an agent refuses rosters and bundles that go back, contradict or do not verify, and says each in its events', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'isthmus-trust-events-'));
  const hub = createEmbeddedHub();
  const ends: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true }), () => hub.close()];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  const resolve = (path: string): string => join(dir, path);
  const text = `
stateDir: authority
federationDomain: mesh.example
listen: 127.0.0.1:0
advertise: ['127.0.0.1:1']
`;
  const config = accepted(parseAuthorityConfig(readDocument('authority.yaml', text), resolve));
  const { stateDir, federationDomain } = config;
  await initAuthority({ stateDir, federationDomain, clock, scryptCost: { N: 2 ** 12 } });
  const running = await startAuthority({ ...config, advertise: [{ host: '127.0.0.1', port: 0 }] }, { clock, log, hub });
  const { authority } = running;
  let open = true;
  ends.push(() => (open ? running.close() : undefined));
  const { token } = await authority.issueToken({ cluster: east });
  await writeFile(resolve('token'), token, { mode: 0o600 });
  const agentText = `
stateDir: east
cluster: east
join: { tokenFile: token }
hub: { url: memory }
listen: { grpc: 127.0.0.1:0, http: 127.0.0.1:0 }
advertise: ['127.0.0.1:1']
timings: { poll: 50ms }
`;
  const agentConfig = accepted(parseAgentConfig(readDocument('agent.yaml', agentText), resolve));
  const agent = await startAgent(agentConfig, { clock, log, hub });
  ends.push(() => agent.close());
  await agent.running;
  const old = await hub.readSnapshot(partition);
  await authority.admit(east, { labels: { tier: 'gold' } }, 'a newer roster');
  const { current: trust } = authority.trust;
  assert.ok(trust && old.head);
  const { sequence } = trust.roster;
  const sequenceHeld = (): string | undefined =>
    agent.api.bundles().bundles.find(({ trustDomain }) => trustDomain === 'east.mesh.example')?.sequence;
  await eventually('the newer bundles are here', () => sequenceHeld() === String(sequence), 20_000);
  // From here on nobody repairs what the owner of the hub does.
  await running.close();
  open = false;

  let hints = 0;
  const put = async (head: Uint8Array, bundles: Uint8Array | undefined): Promise<void> => {
    const before = await hub.readSnapshot(partition);
    hints += 1;
    await hub.commit(partition, {
      expectedHead: before.head,
      head,
      records: new Map(bundles && [[bundlesRecordKey, bundles]]),
      snapshot: true,
      delta: undefined,
      hint: `${partition} 0 ${hints}`,
    });
  };
  const said = async (kind: string, about: RegExp): Promise<void> => {
    const find = () => agent.api.events().find((each) => each.kind === kind && about.test(each.detail));
    await eventually(`${kind} ${String(about)}`, () => find() !== undefined, 20_000);
    assert.equal(find()?.cluster, 'authority');
  };
  await put(old.head, old.records.get(bundlesRecordKey));
  await said(
    'rollback',
    new RegExp(`^head of authority on hub memory: sequence \\d+ was offered, ${sequence} is held`),
  );
  await said(
    'rollback',
    new RegExp(`^bundles of authority on hub memory: sequence \\d+ of \\S+\\.mesh\\.example was offered`),
  );

  // The authority itself, or whoever has its seal key, says two things at once.
  const { current } = await (await openAuthorityKeys(stateDir)).identities(clock.now());
  assert.ok(current);
  const sealer = createSealer(current.seal);
  await hub.writeChain(partition, sealer.chainId, sealer.chain);
  const roster = { ...trust.roster, issuedAt: trust.roster.issuedAt + 1 };
  const bundles = new Map(
    [...publishedBundles(trust)].map(([domain, content]) => [domain, { ...content, x509Keys: [] }]),
  );
  await put(sealer.seal('roster', encodeRoster(roster)), sealer.seal('bundle', encodeBundleMap(bundles)));
  await said('equivocation', /with other contents$/);
  await said('equivocation', /with other keys$/);

  // Nobody's seal.
  const garbled = Buffer.from(sealer.seal('roster', encodeRoster({ ...roster, sequence: sequence + 1 })));
  garbled.writeUInt8((garbled.at(-1) ?? 0) ^ 1, garbled.length - 1);
  await put(garbled, undefined);
  await said('distrusted', /^head of authority on hub memory: bad-signature/);
  await put(Buffer.from('nothing'), undefined);
  await said('malformed', /^head of authority on hub memory: Sealed bytes do not decode: 7 bytes are too few/);

  assert.equal(sequenceHeld(), String(sequence), 'what was held is held');
  const { refused } = agent.api.bundles();
  assert.ok(refused.older > 0 && refused.conflicting > 0, JSON.stringify(refused));
  const { refusedRosters } = agent.api.trustStatus();
  assert.deepEqual(
    Object.values(refusedRosters).map((count) => count > 0),
    [true, true, true],
    JSON.stringify(refusedRosters),
  );
});
