import type {
  AuditRow,
  BundleDetail,
  ChainReport,
  JournalVerdict,
  LintReport,
  VectorsReport,
} from '../model/trust-report.ts';

/** A file that was read, and how it is called. */
export interface InputFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** `isthmus trust verify`. */
export interface VerifyQuestion {
  /** PEM, leaf first. */
  readonly chain: InputFile;
  /** SPIFFE bundle, bundle map, or PEM anchors. */
  readonly bundle: InputFile;
  /** Whose bundle it is; absent: that of the chain. */
  readonly trustDomain?: string;
  /** `spiffe`: the SPIFFE rules alone, for chains of other makes. */
  readonly binding: 'spiffe' | 'trust-domain';
  /** Wall clock in ms. */
  readonly at: number;
}

/** `isthmus trust bundle get --url`. */
export interface FetchQuestion {
  readonly url: string;
  readonly trustDomain: string;
  /** Who the endpoint must prove to be; absent: the Web PKI decides (profile https_web). */
  readonly spiffeId?: string;
  /** PEM anchors, or for `spiffeId` a bundle, to check the endpoint against. */
  readonly anchors?: InputFile;
  readonly timeoutMs: number;
}

/** What the trust room offers to verbs that need no server. All throw IsthmusErrors. */
export interface TrustTools {
  verifyChain(question: VerifyQuestion): ChainReport;
  lint(files: readonly InputFile[], at: number): LintReport;
  /** Reads a bundle, the bundle of that trust domain in a map, or PEM anchors. */
  readBundle(file: InputFile, trustDomain: string): BundleDetail;
  fetchBundle(question: FetchQuestion): Promise<BundleDetail>;
  writeVectors(dir: string, at: number): Promise<VectorsReport>;
  parseJournal(file: InputFile): readonly AuditRow[];
  journalVerdict(rows: readonly AuditRow[]): JournalVerdict;
}
