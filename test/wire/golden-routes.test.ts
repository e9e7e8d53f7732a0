import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { decodeServiceRoute, encodeServiceRoute } from '../../src/wire/route-table.ts';

/** Files of `test/golden` are never changed: what a version once wrote stays readable. New shapes get new files. */
async function golden(name: string): Promise<Buffer> {
  const text = await readFile(new URL(`../golden/routes-${name}.json`, import.meta.url), 'utf8');
  const [route] = Object.values(JSON.parse(text) as Record<string, unknown>);
  return Buffer.from(JSON.stringify(route));
}

for (const name of ['first', 'http']) {
  test(`routes as in ${name}: read, and written again to the very same bytes`, async () => {
    const bytes = await golden(name);
    assert.equal(Buffer.from(encodeServiceRoute(decodeServiceRoute(bytes))).toString(), bytes.toString());
  });
}

test('rules by request: what they are for comes back', async () => {
  const { access, http, loadBalancing } = decodeServiceRoute(await golden('http'));
  const [reads, admin] = access?.rules ?? [];
  assert.deepEqual(reads?.requests, { methods: ['GET', 'HEAD'], pathPrefixes: ['/api'] });
  assert.deepEqual(reads?.ports, [80]);
  assert.deepEqual(admin?.requests, { pathPrefixes: ['/admin'] });
  assert.deepEqual(admin?.ports, [80]);
  assert.deepEqual(http?.retries.on, ['connect', 'reset', 503, 'unavailable']);
  assert.deepEqual(loadBalancing?.hash, { by: 'header', name: 'x-user' });
});

/** What a gateway of the version before reads of a rule: it drops keys that it does not know. */
function readByElder(bytes: Uint8Array): readonly { readonly action: string; readonly ports?: readonly number[] }[] {
  const { access } = JSON.parse(Buffer.from(bytes).toString()) as {
    readonly access: { readonly rules: readonly { readonly action: string; readonly ports?: readonly number[] }[] };
  };
  return access.rules.map(({ action, ports }) => ({ action, ...(ports && { ports }) }));
}

test('rules by request: a gateway that does not know them lets nobody in by them', async () => {
  const known = decodeServiceRoute(await golden('http'));
  const rules = (known.access?.rules ?? []).map((rule) => ({ ...rule, ports: undefined }));
  assert.ok(known.access);
  const bytes = encodeServiceRoute({ ...known, access: { ...known.access, rules } });
  assert.deepEqual(readByElder(bytes), [{ action: 'allow', ports: [] }, { action: 'deny' }]);
  assert.deepEqual(decodeServiceRoute(bytes).access?.rules, rules);
});

test('routes of a later version: a retry condition that is not known is never met, keys that are not known are dropped', async () => {
  const route = JSON.parse((await golden('http')).toString()) as { http: { retries: { on: unknown[] } } };
  route.http.retries.on.push('quota', 7);
  const later = { ...route, mirror: 'south', http: { ...route.http, hedge: true } };
  assert.deepEqual(decodeServiceRoute(Buffer.from(JSON.stringify(later))), decodeServiceRoute(await golden('http')));
});
