import type { ConfigByKind, ConfigKind } from '../kind.ts';
import { toFileForm } from '../file-form.ts';
import { loadAnyConfig } from './load.ts';

/** A configuration file of any role, for showing and for finding a server; everything plain. */
export interface AnyConfig {
  readonly role: ConfigKind;
  /** Every default written out, in the words of the file. */
  readonly effective: unknown;
  /** Path of a value → its 1-based line in the file. */
  readonly lines: ReadonlyMap<string, number>;
  readonly stateDir: string;
  readonly adminSocket?: string;
  readonly cluster?: string;
  readonly replica?: string;
  readonly federationDomain?: string;
  readonly passphraseFile?: string;
}

/** Reads and validates a file of the given role, or of the role that it says. @throws IsthmusError `invalid` */
export async function readConfig(file: string, wanted?: ConfigKind): Promise<AnyConfig> {
  const { kind, config } = await loadAnyConfig(file, wanted);
  return {
    role: kind,
    effective: { role: kind, ...(toFileForm(config) as object) },
    lines: config.source?.lines ?? new Map(),
    stateDir: config.stateDir,
    ...particulars(config),
  };
}

type Particulars = Pick<AnyConfig, 'adminSocket' | 'cluster' | 'replica' | 'federationDomain' | 'passphraseFile'>;

function particulars(config: ConfigByKind[ConfigKind]): Particulars {
  return {
    ...('admin' in config && { adminSocket: config.admin }),
    ...('cluster' in config && { cluster: config.cluster }),
    ...('replica' in config && { replica: config.replica }),
    ...('federationDomain' in config && { federationDomain: config.federationDomain }),
    ...('passphraseFile' in config && config.passphraseFile !== undefined && { passphraseFile: config.passphraseFile }),
  };
}
