import { IsthmusError } from '../model/error.ts';
import { type ClusterName, parseClusterName } from '../model/names.ts';
import { type AuthorityStatus, adminPaths, type ClusterRow, type IssuedToken } from '../model/status.ts';
import type { Admission, RosterEntry } from '../model/trust.ts';
import type {
  AuditPage,
  BackupReport,
  ImportReport,
  IntermediateRow,
  JournalVerdict,
  PendingRow,
  SignRequestReport,
  TokenRow,
  TrustReplicaRow,
} from '../model/trust-report.ts';
import { bodyOf, durationField, type Fields, flagField, listField, mapField, optionalText, textField } from './body.ts';
import { get, post, type Routes } from './routes.ts';

/** What the authority answers. Each function gives the state of that moment. */
export interface AuthorityApi {
  status(): AuthorityStatus;
  /** The roster; freshness is `unknown` here, because the authority does not listen to leases. */
  clusters(): readonly ClusterRow[];
  issueClusterToken(request: ClusterTokenRequest): Promise<IssuedToken>;
  tokens(): readonly TokenRow[];
  revokeToken(id: string, why: string): Promise<void>;
  setClusterState(cluster: ClusterName, state: RosterEntry['state'], why: string): Promise<void>;
  admit(cluster: ClusterName, admission: Partial<Admission>, why: string): Promise<void>;
  /** Records after number `after`. */
  audit(after: number): Promise<AuditPage>;
  auditVerdict(): Promise<JournalVerdict>;
  inventory(): Promise<readonly IntermediateRow[]>;
  pending(): Promise<readonly PendingRow[]>;
  /** Every replica that agents told of. */
  acknowledgements(): readonly TrustReplicaRow[];
  /** Writes the file that an offline root is to sign. */
  signRequest(out: string): Promise<SignRequestReport>;
  /** Reads the file that it has signed. */
  importResponse(file: string): Promise<ImportReport>;
  backup(request: { readonly out: string; readonly passphraseFile?: string }): Promise<BackupReport>;
  acceptClock(why: string): Promise<void>;
}

export interface ClusterTokenRequest {
  readonly cluster: ClusterName;
  /** Undefined = the issuer's default. */
  readonly ttlMs: number | undefined;
  readonly rejoin: boolean;
  /** What is left out stays as it is. */
  readonly admission: Partial<Admission>;
}

const admissionFields = ['labels', 'exportable', 'mayPublishPolicy', 'mayOperate', 'limits'] as const;
const settableStates: readonly RosterEntry['state'][] = ['active', 'suspended', 'revoked'];

/** The authority's admin API. */
export function authorityRoutes(api: AuthorityApi): Routes {
  return [
    get(adminPaths.status, () => api.status()),
    get(adminPaths.clusters, () => api.clusters()),
    get(adminPaths.tokens, () => api.tokens()),
    post(adminPaths.tokens, ({ body }) => {
      const given = bodyOf(body, ['cluster', 'ttlMs', 'rejoin', ...admissionFields]);
      return api.issueClusterToken({
        cluster: clusterField(given),
        ttlMs: durationField(given, 'ttlMs'),
        rejoin: flagField(given, 'rejoin') ?? false,
        admission: admissionOf(given),
      });
    }),
    post(adminPaths.revokeToken, async ({ body }) => {
      const given = bodyOf(body, ['id', 'why']);
      await api.revokeToken(textField(given, 'id'), textField(given, 'why'));
      return api.tokens();
    }),
    ...memberRoutes(api),
    get(adminPaths.audit, ({ query }) => api.audit(afterOf(query['after']))),
    get(adminPaths.auditVerdict, () => api.auditVerdict()),
    get(adminPaths.inventory, () => api.inventory()),
    get(adminPaths.pending, () => api.pending()),
    get(adminPaths.acknowledgements, () => api.acknowledgements()),
    post(adminPaths.signRequest, ({ body }) => api.signRequest(pathField(bodyOf(body, ['out']), 'out'))),
    post(adminPaths.importResponse, ({ body }) => api.importResponse(pathField(bodyOf(body, ['file']), 'file'))),
    post(adminPaths.backup, ({ body }) => {
      const given = bodyOf(body, ['out', 'passphraseFile']);
      const passphraseFile = optionalText(given, 'passphraseFile');
      return api.backup({ out: pathField(given, 'out'), ...(passphraseFile !== undefined && { passphraseFile }) });
    }),
    post(adminPaths.acceptClock, async ({ body }) => {
      await api.acceptClock(textField(bodyOf(body, ['why']), 'why'));
      return api.status();
    }),
  ];
}

function memberRoutes(api: AuthorityApi): Routes {
  return [
    post(adminPaths.clusterState, async ({ body }) => {
      const given = bodyOf(body, ['cluster', 'state', 'why']);
      const wanted = textField(given, 'state');
      const state = settableStates.find((each) => each === wanted);
      if (!state) throw new IsthmusError('invalid', `'state' must be ${settableStates.join(', ')}: it is '${wanted}'`);
      await api.setClusterState(clusterField(given), state, textField(given, 'why'));
      return api.clusters();
    }),
    post(adminPaths.clusterAdmission, async ({ body }) => {
      const given = bodyOf(body, ['cluster', 'why', ...admissionFields]);
      await api.admit(clusterField(given), admissionOf(given), textField(given, 'why'));
      return api.clusters();
    }),
  ];
}

function clusterField(given: Fields): ClusterName {
  return parseClusterName(textField(given, 'cluster'));
}

function pathField(given: Fields, key: string): string {
  const path = textField(given, key);
  if (path.startsWith('/') && !path.includes('\0')) return path;
  throw new IsthmusError('invalid', `'${key}' must be an absolute path: current value is '${path}'`);
}

function admissionOf(given: Fields): Partial<Admission> {
  const labels = mapField(given, 'labels', 'string');
  const exportable = listField(given, 'exportable');
  const mayPublishPolicy = flagField(given, 'mayPublishPolicy');
  const mayOperate = flagField(given, 'mayOperate');
  const limits = mapField(given, 'limits', 'number');
  return {
    ...(labels && { labels }),
    ...(exportable && { exportable }),
    ...(mayPublishPolicy !== undefined && { mayPublishPolicy }),
    ...(mayOperate !== undefined && { mayOperate }),
    ...(limits && { limits }),
  };
}

function afterOf(text: string | undefined): number {
  const after = Number(text ?? 0);
  if (Number.isSafeInteger(after) && after >= 0) return after;
  throw new IsthmusError('invalid', `'after' must be the number of a record: current value is '${text}'`);
}
