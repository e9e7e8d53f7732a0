import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { after, before, suite, test } from 'node:test';
import { request } from 'undici';
import { type ClusterName, parseClusterName, type ServiceKey } from '../../src/model/names.ts';
import { cart, east, web, west } from '../../src/roles/demo/federation.ts';
import type { Workload } from '../../src/roles/demo/workload.ts';
import { RunningFederation, until } from './support/running-federation.ts';
import { standIn } from './support/stand-in.ts';

/** The recipes about requests, applied by the command line and tried with requests. */

const timeout = 60_000;
const south = parseClusterName('south');

suite('cookbook, on a running federation', () => {
  let running: RunningFederation;

  before(
    async () => {
      running = await RunningFederation.start();
    },
    { timeout },
  );

  after(() => running?.close());

  /** Applies a recipe in west, where it is to hold until `use` has ended. */
  async function withRecipe(file: string, use: () => Promise<void>): Promise<void> {
    const path = fileURLToPath(new URL(`../../docs/cookbook/${file}`, import.meta.url));
    const { status, stderr } = await running.run(west, 'policy', 'apply', '-f', path);
    assert.equal(status, 0, stderr);
    try {
      await until(
        'in force everywhere',
        () => running.policies(west),
        (rows) => rows.length > 0 && rows.every(({ applied }) => applied.every(({ current }) => current)),
      );
      await use();
    } finally {
      for (const { policy } of await running.policies(west)) await running.remove(west, policy);
    }
  }

  interface Asked {
    readonly method?: 'GET' | 'POST';
    readonly path?: string;
    readonly user?: string;
  }

  /** Status and who served, over a fresh connection. */
  async function ask(
    from: ClusterName,
    service: ServiceKey,
    { method = 'GET', path = '/', user }: Asked = {},
  ): Promise<readonly [number, string | undefined]> {
    const { statusCode, headers, body } = await request(
      `http://127.0.0.1:${running.importPort(from, service)}${path}`,
      { method, reset: true, ...(user !== undefined && { headers: { 'x-user': user } }) },
    );
    await body.dump();
    return [statusCode, headers['x-served-by']?.toString()];
  }

  function workload(cluster: ClusterName, service: ServiceKey): Workload {
    const found = running.demo.cluster(cluster).workloads.find((each) => each.service === service);
    assert.ok(found);
    return found;
  }

  test('07: of 600 requests each cluster serves its stated part, as far as chance allows', { timeout }, async () => {
    await withRecipe('07-canary.yaml', async () => {
      const stated = new Map([
        [west, 0.45],
        [east, 0.5],
        [south, 0.05],
      ]);
      await until(
        'shares as stated',
        () => [...stated].map(([cluster, part]) => Math.abs(running.share(west, web, cluster) - part)),
        (differences) => Math.max(...differences) < 1e-9,
      );
      const served = new Map<string | undefined, number>();
      const requests = 600;
      for (let done = 0; done < requests; done += 10) {
        for (const [status, by] of await Promise.all(Array.from({ length: 10 }, () => ask(west, web)))) {
          assert.equal(status, 200);
          served.set(by, (served.get(by) ?? 0) + 1);
        }
      }
      let chiSquare = 0;
      for (const [cluster, part] of stated) {
        chiSquare += ((served.get(cluster) ?? 0) - part * requests) ** 2 / (part * requests);
      }
      // Two degrees of freedom: by chance alone once in a million.
      assert.ok(chiSquare < 27.6, `chi-square ${chiSquare}: ${JSON.stringify([...served])}`);
    });
  });

  test('11: a GET that meets 503 is tried again, a POST is not', { timeout }, async () => {
    const own = workload(west, web);
    let [tries, answered] = [0, 0];
    const busy = await standIn(own, (_request, response) => {
      tries += 1;
      // Each other try is refused, so that no outlier is ejected for failures in a row.
      if (tries % 2 === 1) response.statusCode = 503;
      else answered += 1;
      response.end();
    });
    try {
      await until(
        'west serves',
        () => ask(west, web),
        ([, by]) => by === 'west',
      );
      tries = 0;
      assert.equal((await ask(west, web))[0], 503, 'without the recipe');
      await withRecipe('11-retry-what-does-no-harm.yaml', async () => {
        await until(
          'a retry',
          async () => {
            tries = 0;
            return (await ask(west, web))[0];
          },
          (status) => status === 200,
        );
        assert.ok(tries >= 1);
        tries = 0;
        assert.equal((await ask(west, web, { method: 'POST' }))[0], 503);
        assert.equal(tries, 1);
      });
    } finally {
      await busy.close();
      await own.start();
    }
  });

  test('12: a user stays with one instance, users spread over all', { timeout }, async () => {
    await withRecipe('12-stay-with-one-instance.yaml', async () => {
      const third = (of: ClusterName): boolean => Math.abs(running.share(west, web, of) - 1 / 3) < 1e-9;
      await until(
        'three alike',
        () => [east, south, west].map(third),
        (each) => each.every(Boolean),
      );
      const seen = new Set<string | undefined>();
      for (let user = 0; user < 12; user += 1) {
        const served = new Set<string | undefined>();
        for (let again = 0; again < 4; again += 1) served.add((await ask(west, web, { user: `user-${user}` }))[1]);
        assert.equal(served.size, 1, [...served].join(' '));
        for (const by of served) seen.add(by);
      }
      assert.ok(seen.size > 1, [...seen].join(' '));
    });
  });

  test('13: reads for all, writes for the back office, /admin for nobody', { timeout }, async () => {
    await withRecipe('13-reads-for-all.yaml', async () => {
      const path = '/api/items';
      await until(
        'in the gateways',
        () => ask(west, cart, { method: 'POST', path }),
        ([status]) => status === 403,
      );
      assert.equal((await ask(west, cart, { path }))[0], 200);
      assert.equal((await ask(west, cart, { path: '/other' }))[0], 403);
      assert.equal((await ask(west, cart, { path: '/admin' }))[0], 403);
      assert.equal((await ask(south, cart, { method: 'POST', path }))[0], 200);
      const write = ['--method', 'POST', '--path', path];
      const { status, stdout } = await running.run(west, 'explain', 'shop/cart:80', ...write);
      assert.deepEqual([status, /no rule allows/.test(stdout)], [1, true], stdout);
    });
  });
});
