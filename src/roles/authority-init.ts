import type { InitOptions, RoleIo } from '../cli/role-io.ts';
import { parseTrustDomain } from '../model/identity.ts';
import { systemClock } from '../runtime/io/clock.ts';
import { initAuthority } from '../trust/io/authority.ts';

/** `isthmus authority init`: makes the root of a new federation, once. */
export async function runAuthorityInit(options: InitOptions, io: RoleIo): Promise<number> {
  const made = await initAuthority({
    stateDir: options.stateDir,
    federationDomain: parseTrustDomain(options.federationDomain),
    ...(options.passphraseFile !== undefined && { passphraseFile: options.passphraseFile }),
    ...(options.root && { root: options.root }),
    clock: systemClock,
  });
  for (const warning of made.warnings) io.stderr.write(`Warning: ${warning}\n`);
  io.stdout.write(`federation ${made.federationDomain}: root ${made.rootSha256} in ${options.stateDir}\n`);
  if (made.passphraseGenerated) {
    io.stderr.write(
      `A passphrase for its key was generated at ${made.passphraseFile}. Beside the key it protects against little: ` +
        `keep it elsewhere and name it with passphraseFile.\n`,
    );
  }
  if (options.root?.kind === 'import') {
    io.stderr.write(`The key is sealed here now: remove ${options.root.keyFile} when nobody else needs it.\n`);
  }
  const then = options.root?.kind === 'offline' ? 'isthmus authority sign-request' : 'isthmus token issue <cluster>';
  io.stderr.write(`Next: isthmus authority -f authority.yaml, then ${then}\n`);
  return 0;
}
