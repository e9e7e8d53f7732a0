import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { exchange } from '../support/client.ts';
import type { Node } from '../support/mesh.ts';
import { valueOf } from '../support/scrape.ts';
import { startPair } from './support/pair.ts';
import { recorder } from './support/recorder.ts';

const timeout = 60_000;

async function metricsOf(node: Node): Promise<string> {
  return (await fetch(`http://127.0.0.1:${node.gateway.metricsPort}/metrics`)).text();
}

/** Lines of one metric. */
function seriesOf(text: string, name: string): string[] {
  return text.split('\n').filter((line) => line.startsWith(`${name}{`));
}

describe('metrics of requests', () => {
  it('count each at both ends, with the labels that dashboards know, and nothing a client can choose', {
    timeout,
  }, async () => {
    let status = 200;
    const backend = recorder(() => `HTTP/1.1 ${status} Word\r\nContent-Length: 2\r\n\r\nok`);
    const pair = await startPair({ serve: [backend.serve], metrics: true });
    const send = (method: string, path: string, fields = ''): Promise<unknown> =>
      exchange(pair.port, `${method} ${path} HTTP/1.1\r\nHost: shop\r\n${fields}\r\n`);
    try {
      pair.setAccess({ requests: { pathPrefixes: ['/open'] } });
      for (let index = 0; index < 5; index += 1) await send('GET', '/open');
      status = 404;
      await send('GET', '/open');
      await send('GET', '/shut');
      await pair.logged(7);
      const [west, east] = [await metricsOf(pair.west), await metricsOf(pair.east)];
      const service = {
        destination_service: 'web',
        destination_service_namespace: 'shop',
        destination_cluster: 'east',
      };
      const out = { direction: 'outbound', source_cluster: 'west', connection_security_policy: 'none', ...service };
      const own = {
        direction: 'inbound',
        source_cluster: 'west',
        connection_security_policy: 'mutual_tls',
        ...service,
      };
      for (const [text, labels] of [[west, out] as const, [east, own] as const]) {
        const count = (
          code: string,
          flags: string,
          of: Readonly<Record<string, string>> = labels,
        ): number | undefined =>
          valueOf(text, 'isthmus_requests_total', { ...of, response_code: code, response_flags: flags });
        assert.equal(count('200', '-'), 5);
        assert.equal(count('404', '-'), 1);
        // Refused at the far end; here it is an answer like any other.
        if (text === west) assert.equal(count('403', '-'), 1);
        else assert.equal(count('403', 'RBAC', { ...own, destination_cluster: 'unknown' }), 1);
      }
      const duration = { direction: 'outbound', ...service };
      assert.equal(valueOf(west, 'isthmus_request_duration_seconds_count', duration), 7);
      assert.ok((valueOf(west, 'isthmus_request_duration_seconds_sum', duration) ?? 0) > 0);
      assert.equal(valueOf(west, 'isthmus_request_duration_seconds_bucket', { ...duration, le: '+Inf' }), 7);
      const buckets = seriesOf(west, 'isthmus_request_duration_seconds_bucket').map((line) =>
        Number(line.split(' ').at(-1)),
      );
      assert.deepEqual(
        buckets,
        buckets.toSorted((a, b) => a - b),
        'each bucket holds the ones below it',
      );

      const before = seriesOf(west, 'isthmus_requests_total').length;
      for (let index = 0; index < 20; index += 1) {
        await send(`M${index}`, `/open/${index}?q=${index}`, `User-Agent: a${index}\r\nX-Request-Id: r${index}\r\n`);
      }
      await pair.logged(20);
      const text = await metricsOf(pair.west);
      assert.equal(seriesOf(text, 'isthmus_requests_total').length, before, 'no new series');
      assert.doesNotMatch(text, /M1[0-9]|\/open|a1[0-9]|r1[0-9]"/);
      assert.ok(text.includes('# TYPE isthmus_request_duration_seconds histogram'));
    } finally {
      await pair.close();
    }
  });
});
