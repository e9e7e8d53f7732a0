import { z } from 'zod';
import { readFileIfPresent } from '../../runtime/io/files.ts';
import { parseAuthorityFile } from './authority-files.ts';
import { readVault, type ScryptCost, writeVault } from './key-vault.ts';

/** A certificate (DER, base64) with its key (PKCS#8 PEM). */
export interface StoredIdentity {
  readonly certificate: string;
  readonly keyPem: string;
}

/** What the file holds. */
export interface StoredIdentities {
  readonly tls?: StoredIdentity;
  readonly seal?: StoredIdentity;
  /** Keys that an offline root has been or will be asked to certify. PKCS#8 PEM. */
  readonly nextTls?: string;
  readonly nextSeal?: string;
}

const storedIdentity: z.ZodType<StoredIdentity> = z.strictObject({ certificate: z.base64(), keyPem: z.string() });
const schema: z.ZodType<StoredIdentities> = z.strictObject({
  tls: z.exactOptional(storedIdentity),
  seal: z.exactOptional(storedIdentity),
  nextTls: z.exactOptional(z.string()),
  nextSeal: z.exactOptional(z.string()),
});

/** Where the file is, and what opens it. */
export interface VaultOptions {
  readonly path: string;
  readonly passphrase: Uint8Array;
  readonly cost?: ScryptCost;
}

/** The file with the keys of the authority's own identities. */
export class IdentityVault {
  static readonly #purpose = 'authority identities';
  readonly #options: VaultOptions;
  #held: StoredIdentities = {};

  constructor(options: VaultOptions) {
    this.#options = options;
  }

  get held(): StoredIdentities {
    return this.#held;
  }

  async open(): Promise<void> {
    const { path, passphrase } = this.#options;
    if ((await readFileIfPresent(path)) === undefined) return;
    const bytes = await readVault(path, { purpose: IdentityVault.#purpose, passphrase });
    this.#held = parseAuthorityFile(path, schema, bytes);
  }

  async save(next: StoredIdentities): Promise<void> {
    const { path, ...rest } = this.#options;
    await writeVault(path, { purpose: IdentityVault.#purpose, secret: Buffer.from(JSON.stringify(next)), ...rest });
    this.#held = next;
  }
}
