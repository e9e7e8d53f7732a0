import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { IsthmusError } from '../../model/error.ts';
import { type ServerCandidate, type ServerKind, serverCandidates, startHint } from '../servers.ts';
import type { AdminConnection, World } from '../world.ts';
import { adminPaths } from '../../model/status.ts';

/** Flags of every verb that talks to a server. */
export interface ServerFlags {
  readonly server?: string;
  readonly config?: string;
  readonly timeoutMs: number;
}

/**
 * Connects to the first server that answers.
 * @throws IsthmusError `unavailable`, naming every socket that was tried and why each failed
 */
export async function connectServer(world: World, kind: ServerKind, flags: ServerFlags): Promise<AdminConnection> {
  const candidates = serverCandidates(kind, {
    server: flags.server,
    configSocket: flags.config === undefined ? undefined : await configSocket(world, flags.config),
    temporaryDir: tmpdir(),
    uid: world.uid,
  });
  const failures: string[] = [];
  for (const candidate of candidates) {
    // A default that is not there was never meant; it is told only when nothing else was found.
    if (candidates.length > 1 && !(await exists(candidate.path))) {
      failures.push(`${candidate.path} (${candidate.from}): there is no such socket`);
      continue;
    }
    const connection = await world.connect(candidate.path, flags.timeoutMs);
    const failure = await probe(connection, candidate, kind);
    if (failure === undefined) return connection;
    failures.push(failure);
    await connection.close();
  }
  const tried = failures.length === 1 ? failures[0] : `tried\n  ${failures.join('\n  ')}`;
  throw new IsthmusError('unavailable', `Cannot reach ${nameOf(kind)}: ${tried}`, { hint: startHint(kind) });
}

function nameOf(kind: ServerKind): string {
  if (kind === 'any') return 'an agent or authority';
  return kind === 'demo' ? 'a running demo' : `an ${kind}`;
}

async function configSocket(world: World, file: string): Promise<string> {
  const { adminSocket, role } = await world.readConfig(file);
  if (adminSocket !== undefined) return adminSocket;
  throw new IsthmusError('invalid', `${file} is the configuration of a ${role}, which has no admin socket`, {
    hint: 'Name the configuration of its agent, or of the authority',
  });
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

/** Undefined: it answers. A server that answers with an error is one too: the verb will say so itself. */
async function probe(
  connection: AdminConnection,
  { path, from }: ServerCandidate,
  kind: ServerKind,
): Promise<string | undefined> {
  try {
    await connection.get(kind === 'demo' ? adminPaths.demo : adminPaths.status);
    return undefined;
  } catch (thrown) {
    const error = IsthmusError.from(thrown);
    if (error.code !== 'unavailable' && error.code !== 'timeout' && error.code !== 'corrupt') return undefined;
    const reason = error.message.startsWith(`Cannot reach ${path}: `)
      ? error.message.slice(`Cannot reach ${path}: `.length)
      : error.message;
    return `${path} (${from}): ${reason}`;
  }
}
