import type { BackupReport, SignedReport } from '../model/trust-report.ts';

/** `isthmus authority sign`, on the machine that has the root key. All paths are absolute. */
export interface SignQuestion {
  readonly stateDir: string;
  /** Absent = the one in the state directory. */
  readonly passphraseFile?: string;
  readonly request: string;
  readonly out: string;
}

/** A backup of an authority that does not run. */
export interface BackupQuestion {
  readonly stateDir: string;
  /** Seals the backup; absent = the authority's own. */
  readonly passphraseFile?: string;
  readonly out: string;
}

/** `isthmus authority restore`. */
export interface RestoreQuestion {
  readonly stateDir: string;
  /** Opens the backup. */
  readonly passphraseFile: string;
  readonly from: string;
}

/** What the authority's verbs do without a running authority. All throw IsthmusErrors. */
export interface AuthorityTools {
  sign(question: SignQuestion): Promise<SignedReport>;
  backup(question: BackupQuestion): Promise<BackupReport>;
  restore(question: RestoreQuestion): Promise<BackupReport>;
}
