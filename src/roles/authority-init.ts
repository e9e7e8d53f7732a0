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
    clock: systemClock,
  });
  io.stdout.write(`federation ${made.federationDomain}: root ${made.rootSha256} in ${options.stateDir}\n`);
  if (made.passphraseGenerated) {
    io.stderr.write(
      `A passphrase for its key was generated at ${made.passphraseFile}. Beside the key it protects against little: ` +
        `keep it elsewhere and name it with passphraseFile.\n`,
    );
  }
  io.stderr.write(`Next: isthmus authority -f authority.yaml, then isthmus token issue <cluster>\n`);
  return 0;
}
