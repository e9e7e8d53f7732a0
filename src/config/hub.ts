import { z } from 'zod';
import { path, type ResolvePath, word } from './scalars.ts';
import { scalar, section } from '../wire/schema.ts';

/** Which hub to use and how to sign in to it. */
export interface HubConfig {
  /** `redis://host:port[/database]`, `rediss://…` for TLS, or `memory`: inside this process, for trials. */
  readonly url: string;
  /** First part of every key. Default `isthmus`. */
  readonly prefix: string;
  readonly username?: string;
  /** Absolute path of a 0600 file; its first line is the password. */
  readonly passwordFile?: string;
  /** Absolute path of PEM anchors for `rediss://`; absent = the system's. */
  readonly caFile?: string;
}

const urlText = `'redis://<host>:<port>', 'rediss://<host>:<port>' or 'memory'`;

function parseHubUrl(value: unknown): string | undefined {
  if (value === 'memory') return value;
  if (typeof value !== 'string' || !/^rediss?:\/\//.test(value)) return undefined;
  const url = URL.parse(value);
  if (url === null || url.hostname === '' || url.search !== '' || url.hash !== '') return undefined;
  if (url.username !== '' || url.password !== '') {
    throw new Error('must carry no user or password: use hub.username and hub.passwordFile');
  }
  return /^\/?\d{0,4}$/.test(url.pathname) ? value : undefined;
}

/** The address of a hub. */
export const hubUrl: z.ZodType<string> = scalar(urlText, parseHubUrl);

/** First part of every key of a hub. */
export const hubPrefix: z.ZodType<string> = word(`1 to 32 of a-z, 0-9 and '-', such as 'isthmus'`, /^[a-z0-9-]{1,32}$/);

const defaultPrefix = 'isthmus';

/** How to sign in to a Redis. */
export function hubSignIn(resolve: ResolvePath): {
  readonly username: z.ZodExactOptional<z.ZodType<string>>;
  readonly passwordFile: z.ZodExactOptional<z.ZodType<string>>;
  readonly caFile: z.ZodExactOptional<z.ZodType<string>>;
} {
  return {
    username: z.exactOptional(word('a Redis user name', /^[^\s:@]{1,128}$/)),
    passwordFile: z.exactOptional(path(resolve)),
    caFile: z.exactOptional(path(resolve)),
  };
}

/** The section `hub` of an authority. */
export function hubSection(resolve: ResolvePath): z.ZodType<HubConfig> {
  return section({ url: hubUrl, prefix: hubPrefix.default(defaultPrefix), ...hubSignIn(resolve) });
}

/** As `HubConfig`; what is left out is as the authority said when the cluster joined. */
export type AgentHubConfig = Omit<HubConfig, 'url' | 'prefix'> & Partial<Pick<HubConfig, 'url' | 'prefix'>>;

/** The section `hub` of an agent. */
export function agentHubSection(resolve: ResolvePath): z.ZodType<AgentHubConfig> {
  return section({ url: z.exactOptional(hubUrl), prefix: z.exactOptional(hubPrefix), ...hubSignIn(resolve) }).transform(
    (hub) => (hub.url === undefined ? hub : { ...hub, prefix: hub.prefix ?? defaultPrefix }),
  );
}

/** What an authority said of the hub at the join. */
export interface ToldHub {
  readonly url: string;
  readonly prefix: string;
  readonly username?: string;
  /** Of that user. */
  readonly password?: string;
}

/** What an agent's configuration and its authority say together; undefined: neither says where the hub is. */
export function resolveHub(
  config: AgentHubConfig,
  told: ToldHub | undefined,
): (HubConfig & Pick<ToldHub, 'password'>) | undefined {
  const { url = told?.url, prefix = told?.prefix ?? defaultPrefix, username = told?.username, ...files } = config;
  if (url === undefined) return undefined;
  // A password is that of the user it was told with.
  const password = files.passwordFile === undefined && username === told?.username ? told?.password : undefined;
  return {
    ...files,
    url,
    prefix,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
  };
}
