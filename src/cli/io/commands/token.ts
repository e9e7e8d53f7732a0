import { resolve } from 'node:path';
import { IsthmusError } from '../../../model/error.ts';
import { adminPaths, type IssuedToken } from '../../../model/status.ts';
import { writeFileDurably } from '../../../runtime/io/files.ts';
import { exit } from '../../exit.ts';
import type { World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';

export interface TokenFlags extends ServerFlags {
  readonly gateway?: string;
  readonly ttlMs?: number;
  readonly out?: string;
  readonly output: string;
}

/** `isthmus token issue <cluster>` at the authority, `--gateway <replica>` at an agent. */
export async function issueToken(world: World, cluster: string | undefined, flags: TokenFlags): Promise<number> {
  if ((cluster === undefined) === (flags.gateway === undefined)) {
    throw new IsthmusError('invalid', 'token issue needs either <cluster> or --gateway <replica>');
  }
  const connection = await connectServer(world, flags.gateway === undefined ? 'authority' : 'agent', flags);
  try {
    const who = flags.gateway === undefined ? { cluster } : { gateway: flags.gateway };
    const ttl = flags.ttlMs === undefined ? {} : { ttlMs: flags.ttlMs };
    const issued = await connection.post<IssuedToken>(adminPaths.tokens, { ...who, ...ttl });
    await deliver(world, issued, flags);
    return exit.ok;
  } finally {
    await connection.close();
  }
}

async function deliver(world: World, issued: IssuedToken, flags: TokenFlags): Promise<void> {
  const until = new Date(issued.expiresAt).toISOString();
  if (flags.out !== undefined) await writeFileDurably(resolve(flags.out), `${issued.token}\n`);
  else world.stdout.write(flags.output === 'json' ? `${JSON.stringify(issued)}\n` : `${issued.token}\n`);
  const where = flags.out ?? '<file>';
  const next =
    flags.gateway === undefined
      ? `isthmus join -f agent.yaml --token-file ${where}`
      : `isthmus gateway -f gateway.yaml   (with join.tokenFile: ${where})`;
  world.stderr.write(`Valid once, until ${until}. Keep it secret. Next, where it is for:\n  ${next}\n`);
}
