import { resolve } from 'node:path';
import { IsthmusError } from '../../../model/error.ts';
import { readSecretFile } from '../../../runtime/io/files.ts';
import { parseHostPort } from '../../../model/address.ts';
import { describeError, exitOf } from '../../exit.ts';
import type { DemoOptions, DemoService, InitRoot, RoleIo } from '../../role-io.ts';
import type { FileRole, World } from '../../world.ts';
import { readAll } from '../stdin.ts';

function roleIo(world: World): RoleIo {
  const { stdout, stderr, env } = world;
  return { signal: world.catchSignals(), onHangup: (listener) => world.onHangup(listener), stdout, stderr, env };
}

/** What keeps a role from starting is the operator's to mend: exit 2, not 1. */
async function start(world: World, run: (io: RoleIo) => Promise<number>): Promise<number> {
  try {
    return await run(roleIo(world));
  } catch (thrown) {
    const error = IsthmusError.from(thrown);
    if (error.code === 'internal') throw thrown;
    world.stderr.write(describeError(error));
    return exitOf(error, true);
  }
}

/** Runs a role until it is stopped. */
export function runRole(world: World, role: FileRole, file: string): Promise<number> {
  return start(world, (io) => world.run(role, file, io));
}

export interface InitFlags {
  readonly file?: string;
  readonly stateDir?: string;
  readonly federationDomain?: string;
  readonly passphraseFile?: string;
  readonly import?: string;
  readonly importKey?: string;
  readonly offlineRoot?: string;
}

/** @throws IsthmusError `invalid` for flags that contradict each other */
function rootOf({ import: certificate, importKey, offlineRoot }: InitFlags): InitRoot | undefined {
  if ((certificate === undefined) !== (importKey === undefined)) {
    throw new IsthmusError('invalid', 'authority init needs both --import and --import-key');
  }
  if (certificate !== undefined && offlineRoot !== undefined) {
    throw new IsthmusError('invalid', 'authority init takes either --import or --offline-root');
  }
  if (offlineRoot !== undefined) return { kind: 'offline', certificateFile: resolve(offlineRoot) };
  if (certificate === undefined || importKey === undefined) return undefined;
  return { kind: 'import', certificateFile: resolve(certificate), keyFile: resolve(importKey) };
}

/** `isthmus authority init`, from a file or from flags. */
export async function initAuthority(world: World, flags: InitFlags): Promise<number> {
  const config = flags.file === undefined ? undefined : await world.readConfig(flags.file, 'authority');
  const stateDir = flags.stateDir === undefined ? config?.stateDir : resolve(flags.stateDir);
  const federationDomain = flags.federationDomain ?? config?.federationDomain;
  const passphraseFile = flags.passphraseFile === undefined ? config?.passphraseFile : resolve(flags.passphraseFile);
  if (stateDir === undefined || federationDomain === undefined) {
    throw new IsthmusError('invalid', 'authority init needs -f <file>, or --state-dir and --federation-domain');
  }
  const root = rootOf(flags);
  const options = {
    stateDir,
    federationDomain,
    ...(passphraseFile !== undefined && { passphraseFile }),
    ...(root && { root }),
  };
  return start(world, (io) => world.initAuthority(options, io));
}

export interface JoinFlags {
  readonly file?: string;
  readonly stateDir?: string;
  readonly replica?: string;
  /** `-` = standard input. */
  readonly tokenFile: string;
  readonly rejoin?: boolean;
}

/** `isthmus join`. */
export async function join(world: World, flags: JoinFlags): Promise<number> {
  const config = flags.file === undefined ? undefined : await world.readConfig(flags.file, 'agent');
  const stateDir = flags.stateDir === undefined ? config?.stateDir : resolve(flags.stateDir);
  if (stateDir === undefined) throw new IsthmusError('invalid', 'join needs -f <agent file>, or --state-dir');
  const bytes = flags.tokenFile === '-' ? await readAll(process.stdin) : await readSecretFile(flags.tokenFile);
  const token = bytes.toString('utf8').trim();
  if (token === '') throw new IsthmusError('invalid', `There is no token in ${flags.tokenFile}`);
  const replica = flags.replica ?? config?.replica ?? 'agent-0';
  const cluster = config?.cluster;
  const options = {
    stateDir,
    replica,
    token,
    rejoin: flags.rejoin ?? false,
    ...(cluster !== undefined && { cluster }),
  };
  return start(world, (io) => world.join(options, io));
}

export interface DemoFlags {
  readonly hub: string;
  readonly scenario?: 'failover';
  readonly json?: boolean;
  readonly service?: readonly string[];
  readonly portsFrom?: number;
}

/** `shop/db=127.0.0.1:5432`. @throws IsthmusError `invalid` */
function parseService(text: string): DemoService {
  const equals = text.indexOf('=');
  const service = text.slice(0, Math.max(0, equals));
  const address = parseHostPort(text.slice(equals + 1));
  if (!/^[a-z0-9][-a-z0-9]{0,62}\/[a-z0-9][-a-z0-9]{0,62}$/.test(service) || !address) {
    throw new IsthmusError(
      'invalid',
      `--service must be <namespace>/<name>=<host>:<port>, such as shop/db=127.0.0.1:5432: current value is '${text}'`,
    );
  }
  return { service, ...address };
}

/** `isthmus demo`. */
export function runDemo(world: World, flags: DemoFlags): Promise<number> {
  if (!['memory', 'auto'].includes(flags.hub) && !/^rediss?:\/\/\S+$/.test(flags.hub)) {
    const message = `--hub must be 'memory', 'auto' or a redis:// URL: current value is '${flags.hub}'`;
    throw new IsthmusError('invalid', message);
  }
  const options: DemoOptions = {
    hub: flags.hub,
    json: flags.json ?? false,
    services: (flags.service ?? []).map(parseService),
    ...(flags.scenario !== undefined && { scenario: flags.scenario }),
    ...(flags.portsFrom !== undefined && { portsFrom: flags.portsFrom }),
  };
  return start(world, (io) => world.demo(options, io));
}
