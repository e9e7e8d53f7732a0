/**
 * Who may ask a listener that has no sign-in: programs on this machine, and pages that the listener served itself.
 * A page from elsewhere either names its own origin, or (DNS rebinding) its own host name; both are refused.
 */
export interface HostRules {
  /** Port the listener has. */
  readonly port: number;
  /** The configured listening host, in addition to the loopback names. */
  readonly host: string;
}

/** The hosts (`name:port`) under which the listener may be addressed. */
function allowedHosts({ port, host }: HostRules): ReadonlySet<string> {
  const names = ['127.0.0.1', '[::1]', 'localhost', host.includes(':') ? `[${host}]` : host];
  return new Set(names.flatMap((name) => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`])));
}

/** Why a request is refused, or undefined when it may pass. RFC 9112 §3.2: there must be exactly one Host. */
export function refusalOf(
  headers: { readonly host?: string | undefined; readonly origin?: string | readonly string[] | undefined },
  rules: HostRules,
): string | undefined {
  const hosts = allowedHosts(rules);
  const host = headers.host?.toLowerCase();
  if (host === undefined || !hosts.has(host)) return `host '${(headers.host ?? '').slice(0, 80)}' is not this server`;
  const { origin } = headers;
  if (origin === undefined) return undefined;
  const own = typeof origin === 'string' && origin.startsWith('http://') && hosts.has(origin.slice('http://'.length));
  return own ? undefined : `origin '${String(origin).slice(0, 80)}' is not this server`;
}
