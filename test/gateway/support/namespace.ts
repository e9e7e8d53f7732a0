import { execFileSync, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';

/** A network of its own, joined to this one by one cable that can be made to lose everything. */
export interface Namespace {
  /** Of this side of the cable; what listens here on all addresses can be reached from inside. */
  readonly outside: string;
  /** Of the other side. */
  readonly inside: string;
  /** Put in front of a program, runs it inside. */
  readonly launcher: readonly string[];
  /** Drops every packet from and to this TCP port inside, without a word to anybody. */
  blackHole(port: number): void;
  /** Lets everything through again. */
  heal(): void;
  close(): void;
}

/** Undefined, or why this machine cannot make one. */
export function whyNoNamespace(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux';
  const absent = ['ip', 'nft'].filter((program) => spawnSync(program, ['-V'], { stdio: 'ignore' }).error);
  return absent.length === 0 ? undefined : `needs ${absent.join(' and ')}`;
}

/** @throws what `ip` says; see `whyNoNamespace` */
export function createNamespace(): Namespace {
  // A /30 of its own, and interface names of at most 15 characters.
  const id = randomInt(0, 1 << 14);
  const name = `isthmus-${id}`;
  const [here, there] = [`isth${id}a`, `isth${id}b`];
  const address = (last: number): string => `10.213.${id >> 6}.${(id & 63) * 4 + last}`;
  const [outside, inside] = [address(1), address(2)];
  const ip = (line: string): void => void execFileSync('ip', line.split(' '), { stdio: 'pipe' });
  const nft = (script: string): void =>
    void execFileSync('ip', ['netns', 'exec', name, 'nft', '-f', '-'], {
      input: script,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
  const close = (): void => {
    // With its last process and its name the namespace goes, and the cable with it.
    spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    spawnSync('ip', ['link', 'del', here], { stdio: 'ignore' });
  };
  try {
    ip(`netns add ${name}`);
    ip(`link add ${here} type veth peer name ${there} netns ${name}`);
    ip(`addr add ${outside}/30 dev ${here}`);
    ip(`link set ${here} up`);
    ip(`-n ${name} addr add ${inside}/30 dev ${there}`);
    ip(`-n ${name} link set ${there} up`);
    ip(`-n ${name} link set lo up`);
  } catch (thrown) {
    close();
    throw thrown;
  }
  return {
    outside,
    inside,
    launcher: ['ip', 'netns', 'exec', name],
    blackHole: (port) =>
      nft(`table inet isthmus {
  chain input { type filter hook input priority 0; policy accept; tcp dport ${port} drop; }
  chain output { type filter hook output priority 0; policy accept; tcp sport ${port} drop; }
}
`),
    heal: () => nft('delete table inet isthmus\n'),
    close,
  };
}
