import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { messageOf } from '../../../model/error.ts';

export type ScriptArgument = string | number | Uint8Array;

/** Runs a script that only reads: for a user who may read the keys but not write them, `EVALSHA` itself is forbidden. */
export type ReadScript = <Answer>(keys: readonly string[], args: readonly ScriptArgument[]) => Promise<Answer>;

/** Sends the script itself only when the server does not have it yet. Answers in bytes. */
export function readScript(client: Redis, lua: string): ReadScript {
  const sha = createHash('sha1').update(lua).digest('hex');
  return async <Answer>(keys: readonly string[], args: readonly ScriptArgument[]): Promise<Answer> => {
    const rest = [keys.length, ...keys, ...args.map((arg) => (arg instanceof Uint8Array ? Buffer.from(arg) : arg))];
    try {
      return (await client.callBuffer('EVALSHA_RO', sha, ...rest)) as Answer;
    } catch (thrown) {
      if (!messageOf(thrown).startsWith('NOSCRIPT')) throw thrown;
      return (await client.callBuffer('EVAL_RO', lua, ...rest)) as Answer;
    }
  };
}
