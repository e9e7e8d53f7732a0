import { type ClusterName, parseClusterName } from '../model/names.ts';
import { type AuthorityStatus, adminPaths, type ClusterRow, type IssuedToken } from '../model/status.ts';
import { bodyOf, durationField, textField } from './body.ts';
import { get, post, type Routes } from './routes.ts';

/** What the authority answers. Each function gives the state of that moment. */
export interface AuthorityApi {
  status(): AuthorityStatus;
  /** The roster; freshness is `unknown` here, because the authority does not listen to leases. */
  clusters(): readonly ClusterRow[];
  issueClusterToken(request: ClusterTokenRequest): IssuedToken | Promise<IssuedToken>;
}

export interface ClusterTokenRequest {
  readonly cluster: ClusterName;
  /** Undefined = the issuer's default. */
  readonly ttlMs: number | undefined;
}

/** The authority's admin API. */
export function authorityRoutes(api: AuthorityApi): Routes {
  return [
    get(adminPaths.status, () => api.status()),
    get(adminPaths.clusters, () => api.clusters()),
    post(adminPaths.tokens, ({ body }) => {
      const given = bodyOf(body, ['cluster', 'ttlMs']);
      return api.issueClusterToken({
        cluster: parseClusterName(textField(given, 'cluster')),
        ttlMs: durationField(given, 'ttlMs'),
      });
    }),
  ];
}
