import type { AgentConfig } from './agent.ts';
import { parseAgentConfig } from './agent.ts';
import { type AuthorityConfig, parseAuthorityConfig } from './authority.ts';
import type { ConfigDocument } from './document.ts';
import { type GatewayConfig, parseGatewayConfig } from './gateway.ts';
import type { ResolvePath } from './scalars.ts';
import type { Validated } from './validate.ts';

/** The roles that run from a file, and what each one's file becomes. */
export interface ConfigByKind {
  readonly authority: AuthorityConfig;
  readonly agent: AgentConfig;
  readonly gateway: GatewayConfig;
}

export type ConfigKind = keyof ConfigByKind;

type Parse<Kind extends ConfigKind> = (document: ConfigDocument, resolve: ResolvePath) => Validated<ConfigByKind[Kind]>;

const parsers: { readonly [Kind in ConfigKind]: Parse<Kind> } = {
  authority: parseAuthorityConfig,
  agent: parseAgentConfig,
  gateway: parseGatewayConfig,
};

/** Keys that only one role's file has. */
const telling: readonly (readonly [ConfigKind, readonly string[]])[] = [
  ['authority', ['federationDomain', 'passphraseFile']],
  ['agent', ['cluster', 'services', 'authority', 'importPorts', 'policy', 'policies', 'timings']],
  ['gateway', ['agent', 'limits']],
];

function isKind(value: unknown): value is ConfigKind {
  return typeof value === 'string' && Object.hasOwn(parsers, value);
}

/** Whose file this is: what its key `role` says, else what its other keys tell; undefined when they do not. */
export function kindOf(document: ConfigDocument): ConfigKind | undefined {
  const { value } = document;
  if (typeof value !== 'object' || value === null) return undefined;
  if ('role' in value) return isKind(value.role) ? value.role : undefined;
  return telling.find(([, keys]) => keys.some((key) => key in value))?.[0];
}

/** Reads the file of one role. */
export function parseConfig<Kind extends ConfigKind>(
  kind: Kind,
  document: ConfigDocument,
  resolve: ResolvePath,
): Validated<ConfigByKind[Kind]> {
  const said = kindOf(document);
  if (said !== undefined && said !== kind && hasRole(document.value)) {
    const message = `must be '${kind}': the file says it is for '${said}'; start it with 'isthmus ${said}'`;
    return { ok: false, problems: [{ line: document.lineOf(['role']), path: ['role'], message }] };
  }
  return parsers[kind](document, resolve);
}

function hasRole(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'role' in value;
}
