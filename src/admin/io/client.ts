import { Client, errors } from 'undici';
import { IsthmusError } from '../../model/error.ts';
import { errorOf } from '../error-reply.ts';

export interface AdminClientOptions {
  /** From the request to the last byte of the answer. Default 5 s. */
  readonly timeoutMs?: number;
}

export interface AdminClient {
  readonly socketPath: string;
  /** The caller says what the path answers with (`model/status.ts`). @throws IsthmusError */
  get<T>(path: string): Promise<T>;
  /** @throws IsthmusError */
  post<T>(path: string, body: object): Promise<T>;
  close(): Promise<void>;
}

/** An answer of a federation of 1,000 clusters and 10,000 services is a few MB. */
const maxAnswerBytes = 64 << 20;
const defaultTimeoutMs = 5000;

/**
 * A client of the admin API on a Unix socket. Its errors are the server's own, or `unavailable` and `timeout` naming
 * the socket.
 */
export function adminClient(socketPath: string, options: AdminClientOptions = {}): AdminClient {
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const client = new Client('http://isthmus', { socketPath, maxResponseSize: maxAnswerBytes, pipelining: 1 });
  const call = async (method: 'GET' | 'POST', path: string, body?: object): Promise<unknown> => {
    try {
      const response = await client.request({
        method,
        path,
        signal: AbortSignal.timeout(timeoutMs),
        headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
        body: body ? JSON.stringify(body) : null,
      });
      const answer: unknown = await response.body.json();
      if (response.statusCode >= 400) throw errorOf(response.statusCode, answer);
      return answer;
    } catch (thrown) {
      throw callError(thrown, socketPath, timeoutMs);
    }
  };
  return {
    socketPath,
    get: async <T>(path: string) => (await call('GET', path)) as T,
    post: async <T>(path: string, body: object) => (await call('POST', path, body)) as T,
    close: () => client.destroy(),
  };
}

/** Why a socket does not answer, in words. */
const reasons: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'there is no such socket'],
  ['ECONNREFUSED', 'nobody listens there any more'],
  ['EACCES', 'this user may not open it'],
  ['ENOTSOCK', 'it is not a socket'],
]);

function callError(thrown: unknown, socketPath: string, timeoutMs: number): IsthmusError {
  if (thrown instanceof IsthmusError) return thrown;
  if (thrown instanceof Error && thrown.name === 'TimeoutError') {
    return new IsthmusError('timeout', `No answer from ${socketPath} within ${timeoutMs} ms`, { cause: thrown });
  }
  if (thrown instanceof SyntaxError || thrown instanceof errors.ResponseExceededMaxSizeError) {
    return new IsthmusError('corrupt', `What answers at ${socketPath} is no Isthmus server`, { cause: thrown });
  }
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : '';
  const reason = reasons.get(code) ?? (code || String(thrown));
  return new IsthmusError('unavailable', `Cannot reach ${socketPath}: ${reason}`, { cause: thrown });
}
