import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { OutputFormat } from '../../src/cli/output-format.ts';
import { render, type View, wantsColour } from '../../src/cli/view.ts';
import type { ConflictRow } from '../../src/model/export-report.ts';
import { clustersView } from '../../src/cli/views/clusters.ts';
import { demoView } from '../../src/cli/views/demo.ts';
import { explainView } from '../../src/cli/views/explain.ts';
import { gatewaysView } from '../../src/cli/views/gateways.ts';
import { linksView } from '../../src/cli/views/links.ts';
import { serviceView, servicesView } from '../../src/cli/views/services.ts';
import { statusView, verdictOf } from '../../src/cli/views/status.ts';
import type { AgentStatus, AuthorityStatus, ClusterRow, GatewayRow, LinkRow } from '../../src/model/status.ts';
import { agentStatus, web } from '../admin/fixture.ts';

function show(view: View, format: OutputFormat = 'table'): readonly string[] {
  return render(view, { format, headers: true, colour: false }).trimEnd().split('\n');
}

const links: readonly LinkRow[] = [
  {
    from: 'west',
    to: 'east',
    ready: true,
    gateway: '10.2.0.7:15008',
    rttP50Ms: 11.8,
    rttP99Ms: 19.2,
    loss: 0,
    syncAgeMs: 240,
    trustExpiresInMs: 298 * 86_400_000,
  },
  {
    from: 'east',
    to: 'west',
    ready: false,
    gateway: '10.1.0.7:15008',
    loss: 1,
    syncAgeMs: 300,
    forMs: 121_000,
    message: 'NetworkUnreachable',
  },
  { from: 'east', to: 'south' },
];

const clusters: readonly ClusterRow[] = [
  {
    cluster: 'west',
    self: true,
    state: 'active',
    freshness: 'live',
    trustDomain: 'west.m',
    services: 2,
    gateways: 1,
    revision: 12,
    epoch: 5,
  },
  {
    cluster: 'east',
    self: false,
    state: 'active',
    freshness: 'suspect',
    heardAgoMs: 16_000,
    trustDomain: 'east.m',
    services: 1,
    gateways: 1,
    revision: 3,
    reachable: true,
  },
  {
    cluster: 'old',
    self: false,
    state: 'revoked',
    freshness: 'unknown',
    trustDomain: 'old.m',
    services: 0,
    gateways: 0,
    message: 'revoked by the authority',
  },
];

const gateways: readonly GatewayRow[] = [
  {
    cluster: 'west',
    instance: 'gw-0',
    address: '10.1.0.7:15008',
    ready: true,
    draining: false,
    version: '0.1.0',
    inSync: true,
    active: 3,
    identityExpiresInMs: 86_400_000,
  },
  { cluster: 'east', instance: 'gw-0', address: '10.2.0.7:15008', draining: false, version: '0.1.0' },
];

const authority: AuthorityStatus = {
  kind: 'authority',
  federationDomain: 'mesh.example',
  version: '0.1.0',
  uptimeMs: 5000,
  addresses: ['127.0.0.1:8443'],
  rosterSequence: 4,
  clusters: { active: 2, suspended: 0, revoked: 1 },
  openTokens: 1,
  offlineRoot: false,
  pending: 0,
  watchers: 0,
  waitingFor: [],
  warnings: [],
};

suite('tables', () => {
  test('links', () => {
    assert.deepEqual(show(linksView(links)), [
      'FROM  TO     READY    GATEWAY         RTT-P50/P99  LOSS  SYNC-AGE  TRUST  MESSAGE',
      'west  east   True     10.2.0.7:15008  11.8/19.2ms  0%    0.2s      298d   -',
      'east  west   False    10.1.0.7:15008  -            100%  0.3s      -      NetworkUnreachable (for 2m)',
      'east  south  Unknown  -               -            -     -         -      -',
    ]);
  });

  test('clusters', () => {
    assert.deepEqual(show(clustersView(clusters)), [
      'CLUSTER  STATE    HEARD  REACHABLE  SERVICES  GATEWAYS  REVISION  MESSAGE',
      'west     self     -      -          2         1         12        -',
      'east     suspect  16s    True       1         1         3         -',
      'old      revoked  -      -          0         0         -         revoked by the authority',
    ]);
  });

  test('services, and one of them', () => {
    assert.deepEqual(show(servicesView([web])), [
      'SERVICE   PORTS     HEALTHY  CLUSTERS   EXPORTED  STATE  MESSAGE',
      'shop/web  80→20080  8/8      east,west  True      Spill  -',
    ]);
    const conflict: ConflictRow = {
      field: 'type',
      reason: 'TypeConflict',
      winner: 'east',
      losers: ['west'],
      values: [
        { cluster: 'east', value: 'ClusterSetIP' },
        { cluster: 'west', value: 'Headless' },
      ],
      message: 'Conflicting type. Using "ClusterSetIP"…',
    };
    const detail = serviceView({ ...web, conflicts: [conflict] });
    assert.deepEqual(show(detail), [
      'CLUSTER  HEALTHY  SHARE  CONN/S  SUCCESS  STATE   WHY',
      'east     3/3      88%    412     99.98%   Active  local preferred',
      'west     5/5      12%    -       -        Spill   east below 70% health',
      'Conflict: Conflicting type. Using "ClusterSetIP"…',
    ]);
    assert.match(
      detail.text({ wide: true, headers: true, colour: false }),
      /\n {2}type: east "ClusterSetIP", west "Headless"\n/,
    );
  });

  test('gateways', () => {
    assert.deepEqual(show(gatewaysView(gateways)), [
      'CLUSTER  INSTANCE  ADDRESS         STATE       IN-SYNC  ACTIVE  IDENTITY  MESSAGE',
      'west     gw-0      10.1.0.7:15008  Ready       True     3       24h       -',
      'east     gw-0      10.2.0.7:15008  Advertised  -        -       -         -',
    ]);
  });

  test('explain', () => {
    const steps = [
      { title: 'name', detail: 'exported by east', ok: true },
      { title: 'policy', detail: 'built-in' },
      { title: 'access', detail: 'refused', ok: false },
    ];
    const view = explainView({ from: 'west', to: 'shop/web:80', steps, ok: false, verdict: 'nowhere to go' });
    assert.deepEqual(show(view), [
      'west → shop/web:80',
      '  √ name    exported by east',
      '  · policy  built-in',
      '  × access  refused',
      'nowhere to go',
    ]);
    assert.deepEqual(show(view, 'name'), ['service/shop/web']);
  });

  test('demo', () => {
    const view = demoView({
      kind: 'demo',
      service: 'shop/web',
      hub: 'memory',
      uptimeMs: 61_000,
      requests: { sent: 10, failed: 0, interrupted: 1 },
      clusters: [
        {
          cluster: 'east',
          instances: { ready: 0, total: 3 },
          failed: true,
          adminSocket: '/t/a.sock',
          gateway: '127.0.0.1:1',
          entry: '127.0.0.1:2',
        },
      ],
    });
    assert.deepEqual(show(view), [
      'CLUSTER  HEALTHY  GATEWAY      ENTRY        SERVER',
      'east     0/3      127.0.0.1:1  127.0.0.1:2  /t/a.sock',
      '',
      'Demo of shop/web over memory, running for 61s: 10 requests, 0 failed, 1 interrupted.',
    ]);
  });

  test('nothing to show is said in a sentence, and is an empty list as JSON', () => {
    for (const view of [linksView([]), clustersView([]), servicesView([]), gatewaysView([])]) {
      assert.match(show(view).join(), /^No .*\.$/);
      assert.deepEqual(show(view, 'json'), ['[]']);
    }
  });
});

suite('status', () => {
  const verdict = (changes: Partial<AgentStatus>): string => verdictOf({ ...agentStatus, ...changes }).sentence;

  test('ends with what it all comes to', () => {
    const lines = show(statusView(agentStatus));
    assert.equal(lines[0], 'Cluster    west in mesh.example');
    assert(lines.includes('Identity   intermediate for 30d, agent for 60m'));
    assert.equal(lines.at(-1), 'Ready: west is linked with 2 other clusters; all are live.');
  });

  test('says what it waits for', () => {
    const waitingFor = ['the hub redis://h:1: connection refused', 'the first identity'];
    assert.equal(
      verdict({ waitingFor }),
      'Not ready: west waits for the hub redis://h:1: connection refused; the first identity.',
    );
  });

  test('counts warnings and silent clusters', () => {
    assert.equal(verdict({ warnings: ['the clock is 40 s off'] }), 'Ready with 1 warning: the clock is 40 s off.');
    assert.match(verdict({ members: { live: 2, suspect: 1, dead: 0, unknown: 0 } }), /1 cluster of 3 not live/);
    assert.match(verdict({ gateways: { connected: 0, ready: 0 } }), /no gateway is connected/);
    assert.match(verdict({ members: { live: 1, suspect: 0, dead: 0, unknown: 0 } }), /alone so far/);
  });

  test('shows why a dependency is not connected', () => {
    const hub = { name: 'redis://h:1', connected: false, forMs: 60_000, lastError: 'refused' };
    assert(
      show(statusView({ ...agentStatus, hub })).includes('Hub        redis://h:1, not connected for 60s: refused'),
    );
  });

  test('of an authority', () => {
    assert.equal(show(statusView(authority)).at(-1), 'Ready: the authority of mesh.example serves 2 active clusters.');
  });
});

suite('render', () => {
  test('json and yaml are the answer itself', () => {
    assert.deepEqual(JSON.parse(show(linksView(links), 'json').join('\n')), links);
    assert.deepEqual(show(clustersView(clusters.slice(0, 1)), 'yaml').slice(0, 2), ['- cluster: west', '  self: true']);
  });

  test('name is one object a line', () => {
    assert.deepEqual(show(gatewaysView(gateways), 'name'), ['gateway/west/gw-0', 'gateway/east/gw-0']);
  });

  test('wantsColour: only a terminal, and only without NO_COLOR', () => {
    assert.equal(wantsColour(true, {}), true);
    assert.equal(wantsColour(true, { NO_COLOR: '' }), true);
    assert.equal(wantsColour(true, { NO_COLOR: '1' }), false);
    assert.equal(wantsColour(true, { TERM: 'dumb' }), false);
    assert.equal(wantsColour(undefined, {}), false);
  });
});
