// Brings what the tests need beyond npm packages: redis-server with its client, openssl, clients and servers of HTTP that
// are not ours; and with `bench` what the benchmarks and long proofs measure against. Prints the one line to run where it
// cannot.
import { spawnSync } from 'node:child_process';
import { platform } from 'node:os';

const needed = [
  { program: 'redis-server', apt: 'redis-server', brew: 'redis' },
  { program: 'redis-cli', apt: 'redis-tools', brew: 'redis' },
  { program: 'openssl', apt: 'openssl', brew: 'openssl' },
  { program: 'curl', apt: 'curl', brew: 'curl' },
  { program: 'wrk', apt: 'wrk', brew: 'wrk' },
  { program: 'nginx', apt: 'nginx', brew: 'nginx' },
  { program: 'haproxy', apt: 'haproxy', brew: 'haproxy' },
  { program: 'nghttp', apt: 'nghttp2-client', brew: 'nghttp2' },
  { program: 'h2load', apt: 'nghttp2-client', brew: 'nghttp2' },
];

if (process.argv.includes('bench')) {
  needed.push({ program: 'psql', apt: 'postgresql', brew: 'postgresql' });
  if (platform() === 'linux') {
    // A network of its own whose packets can be dropped, and one core for whatever is measured.
    needed.push(
      { program: 'nft', apt: 'nftables' },
      { program: 'ip', apt: 'iproute2' },
      { program: 'taskset', apt: 'util-linux' },
    );
  }
}

const runs = (program) => spawnSync(program, ['--version'], { stdio: 'ignore' }).error === undefined;
const missing = () => needed.filter(({ program }) => !runs(program));

function attempt(line) {
  console.log(`$ ${line}`);
  return spawnSync(line, { shell: true, stdio: 'inherit' }).status === 0;
}

function install(kind, packages) {
  const names = [...new Set(packages)].join(' ');
  if (kind === 'brew') return attempt(`brew install ${names}`);
  // A policy that denies starting services: the tests start their own, on free ports.
  const env = 'DEBIAN_FRONTEND=noninteractive RUNLEVEL=1';
  return attempt('apt-get update -qq') && attempt(`${env} apt-get install -y -qq --no-install-recommends ${names}`);
}

const absent = missing();
if (absent.length > 0) {
  console.log(`missing: ${absent.map((n) => n.program).join(', ')}`);
  const root = process.getuid?.() === 0;
  if (platform() === 'linux' && runs('apt-get') && root)
    install(
      'apt',
      absent.map((n) => n.apt),
    );
  else if (platform() === 'darwin' && runs('brew'))
    install(
      'brew',
      absent.map((n) => n.brew),
    );
}

const still = missing();
if (still.length === 0) {
  console.log('setup: everything the tests need is here');
} else {
  const names = [...new Set(still.map((n) => (platform() === 'darwin' ? n.brew : n.apt)))].join(' ');
  console.error(`setup: still missing: ${still.map((n) => n.program).join(', ')}. Run this once, then try again:`);
  console.error(platform() === 'darwin' ? `  brew install ${names}` : `  sudo apt-get install -y ${names}`);
  process.exitCode = 1;
}
