import { resolve } from 'node:path';
import { IsthmusError } from '../../../model/error.ts';
import { adminPaths, type IssuedToken } from '../../../model/status.ts';
import { writeFileDurably } from '../../../runtime/io/files.ts';
import type { TokenRow } from '../../../model/trust-report.ts';
import { exit } from '../../exit.ts';
import { clean } from '../../text.ts';
import { tokensView } from '../../views/authority.ts';
import type { World } from '../../world.ts';
import { connectServer, type ServerFlags } from '../connect.ts';
import { askAuthority, type AuthorityFlags, showView } from './authority.ts';

export interface TokenFlags extends ServerFlags {
  readonly gateway?: string;
  readonly ttlMs?: number;
  readonly out?: string;
  readonly output: string;
  /** What the cluster is admitted for, as the admin API takes it; empty: as it is, or by default. */
  readonly admission: object;
}

/** `isthmus token issue <cluster>` at the authority, `--gateway <replica>` at an agent. */
export async function issueToken(world: World, cluster: string | undefined, flags: TokenFlags): Promise<number> {
  if ((cluster === undefined) === (flags.gateway === undefined)) {
    throw new IsthmusError('invalid', 'token issue needs either <cluster> or --gateway <replica>');
  }
  if (flags.gateway !== undefined && Object.keys(flags.admission).length > 0) {
    throw new IsthmusError('invalid', 'A token for a gateway takes no flag of a cluster: only clusters are admitted');
  }
  const connection = await connectServer(world, flags.gateway === undefined ? 'authority' : 'agent', flags);
  try {
    const who = flags.gateway === undefined ? { cluster } : { gateway: flags.gateway };
    const ttl = flags.ttlMs === undefined ? {} : { ttlMs: flags.ttlMs };
    const issued = await connection.post<IssuedToken>(adminPaths.tokens, { ...who, ...ttl, ...flags.admission });
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
  for (const warning of issued.warnings ?? []) {
    world.stderr.write(`Warning: ${clean(warning)}. Narrow it with --exportable '<namespace>/*'.\n`);
  }
  if (issued.hubUserLine !== undefined) {
    world.stderr.write(
      `If the hub has users (ACL), make this one in it, with a password of your own:\n  ${issued.hubUserLine}\n`,
    );
  }
  world.stderr.write(`Valid once, until ${until}. Keep it secret. Next, where it is for:\n  ${next}\n`);
}

/** `isthmus token list` */
export async function listTokens(world: World, flags: AuthorityFlags): Promise<number> {
  const rows = await askAuthority(world, flags, (authority) => authority.get<TokenRow[]>(adminPaths.tokens));
  return showView(world, tokensView(rows), flags);
}

/** `isthmus token revoke` */
export async function revokeToken(
  world: World,
  request: { readonly id: string; readonly why: string },
  flags: AuthorityFlags,
): Promise<number> {
  const rows = await askAuthority(world, flags, (authority) =>
    authority.post<TokenRow[]>(adminPaths.revokeToken, request),
  );
  return showView(world, tokensView(rows.filter(({ id }) => id === request.id)), flags);
}
