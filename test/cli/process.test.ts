import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { each, isthmusIn } from './isthmus.ts';

const bin = new URL('../../bin/isthmus.js', import.meta.url).pathname;

suite('isthmus as a process', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'isthmus-cli-'));
  });
  after(() => rm(folder, { recursive: true }));

  const { run } = isthmusIn(() => folder);

  test('--help, of everything and of each verb, has examples and exits 0 with nothing on stderr', async () => {
    const verbs = ['', 'authority', 'authority init', 'agent', 'gateway', 'join', 'token issue', 'demo', 'demo fail'];
    verbs.push('demo restore', 'demo status', 'status', 'clusters', 'links', 'services', 'gateways', 'explain');
    verbs.push('config check', 'config view', 'hub acl', 'hub check', 'hub accept', 'leave', 'events');
    await each(verbs, async (verb) => {
      const { status, stdout, stderr } = await run([...verb.split(' ').filter(Boolean), '--help']);
      assert.equal(status, 0, verb);
      assert.equal(stderr, '', verb);
      assert.match(stdout, /Examples:\n {2}isthmus /, verb);
    });
  });

  test('--help is quick', async (t) => {
    const times: number[] = [];
    for (let round = 0; round < 7; round += 1) {
      const begin = performance.now();
      await run(['--help']);
      times.push(performance.now() - begin);
    }
    const median = times.toSorted((a, b) => a - b)[3] ?? Infinity;
    t.diagnostic(`isthmus --help: median ${Math.round(median)} ms of ${times.map(Math.round).join(', ')}`);
    // 150 ms is the aim; other test files share the processors.
    assert(median < 450, `median ${median} ms`);
  });

  test('--help loads no verb’s module', () => {
    const script = `
      import { registerHooks } from 'node:module';
      const loaded = [];
      registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) });
      process.argv = [process.argv[0], ${JSON.stringify(bin)}, '--help'];
      await import(${JSON.stringify(bin)});
      process.on('exit', () => console.error(JSON.stringify(loaded)));`;
    const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const loaded = JSON.parse(stderr) as string[];
    assert(loaded.some((url) => url.endsWith('/src/main.ts')));
    const heavy = loaded.filter((url) =>
      /\/(commands|roles|config|admin|views)\/|fastify|undici|zod|yaml|grpc|ioredis/.test(url),
    );
    assert.deepEqual(heavy, []);
  });

  test('version is that of the package, on stdout', async () => {
    const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
    const { version } = JSON.parse(text) as { version: string };
    assert.deepEqual(await run(['version']), { status: 0, signal: null, stdout: `isthmus ${version}\n`, stderr: '' });
    assert.equal((await run(['--version'])).stdout, `${version}\n`);
  });

  const usage: readonly (readonly [string, RegExp])[] = [
    ['', /Usage: isthmus/],
    ['frob', /unknown command 'frob'/],
    ['stauts', /Did you mean status\?/],
    ['status --frob', /unknown option '--frob'/],
    ['status extra', /too many arguments/],
    ['status -o xml', /Allowed choices are table, wide, json, yaml, name/],
    ['status --timeout 5', /must be a duration such as '500ms'/],
    ['agent', /-f, --config <file>' not specified/],
    ['authority', /-f, --config <file>' not specified/],
    ['authority init', /needs -f <file>, or --state-dir and --federation-domain/],
    ['join', /--token-file <file>' not specified/],
    ['join --token-file /nowhere --state-dir s', /Cannot read \/nowhere/],
    ['join --token-file -', /needs -f <agent file>, or --state-dir/],
    ['join --token-file - --state-dir s', /There is no token in -/],
    ['token issue', /needs either <cluster> or --gateway/],
    ['token issue a --gateway b', /needs either <cluster> or --gateway/],
    ['services web', /must be <namespace>\/<name>: current value is 'web'/],
    ['explain web', /must be <namespace>\/<name>:<port>/],
    ['demo --hub http://h', /--hub must be 'memory', 'auto' or a redis/],
    ['demo --service db', /--service must be <namespace>\/<name>=<host>:<port>/],
    ['demo --scenario none', /Allowed choices are failover/],
    ['demo --ports 80', /must be a port from 1024/],
    ['config check', /-f, --config <file>' not specified/],
    ['config check -f nowhere.yaml', /Cannot read configuration nowhere.yaml: there is no such file/],
    ['hub acl', /missing required argument 'cluster'/],
    ['hub acl East', /A cluster name must be/],
    ['hub acl a b --password-file p', /the password of one user/],
    ['hub check', /needs -f <file of an agent or authority>, or --url/],
    ['hub check --url http://h', /A hub URL must be redis/],
    ['hub check --url redis://h -f a.yaml', /cannot be used with/],
    ['leave', /add --yes/],
    ['leave --yes --grace never', /must be a duration such as '500ms'/],
    ['agent -f nowhere.yaml', /Cannot read configuration nowhere.yaml/],
  ];
  test('wrong usage exits 2, with the reason on stderr and nothing on stdout', async () => {
    await each(usage, async ([args, reason]) => {
      const { status, stdout, stderr } = await run(args.split(' ').filter(Boolean));
      assert.equal(status, 2, `${args}: ${stderr}`);
      assert.match(stderr, reason);
      assert.equal(stdout, '', args);
    });
  });

  test('a role with a wrong file exits 2, says every problem, and leaves nothing behind', async () => {
    await writeFile(join(folder, 'bad.yaml'), 'role: agent\nstateDir: made\ncluster: East\nhub: { url: memory }\n');
    const { status, stdout, stderr } = await run(['agent', '-f', 'bad.yaml']);
    assert.equal(status, 2);
    assert.equal(stdout, '');
    assert.match(stderr, /^bad\.yaml:3: cluster: A cluster name must be/m);
    await assert.rejects(stat(join(folder, 'made')));
  });

  test('config view writes a file that config check likes', async () => {
    const text = 'role: gateway\nstateDir: s\nadvertise: [{ address: h, port: 1 }]\nlimits: { idleTimeout: 90s }\n';
    await writeFile(join(folder, 'gateway.yaml'), text);
    const { status, stdout } = await run(['config', 'view', '-f', 'gateway.yaml']);
    assert.equal(status, 0);
    assert.match(stdout, /^ {2}idleTimeout: 90s$/m);
    await writeFile(join(folder, 'copy.yaml'), stdout);
    const checked = await run(['config', 'check', '-f', 'copy.yaml']);
    assert.deepEqual([checked.status, checked.stderr], [0, '']);
    const origins = await run(['config', 'view', '--show-origin'], { ISTHMUS_CONFIG: 'gateway.yaml' });
    assert.match(origins.stdout, /^limits\.idleTimeout: "90s" {2}# gateway\.yaml:4$/m);
    assert.match(origins.stdout, /^replica: "gateway-0" {2}# default$/m);
  });
});
