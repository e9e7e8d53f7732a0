import { type Client, type ServiceError, status } from '@grpc/grpc-js';
import { setTimeout as sleep } from 'node:timers/promises';
import { echoClient, paths, same } from './grpc-peer.ts';

/** One unary call, each with a name of its own, so that servers can tell whether they got it twice. */
export interface CallRecord {
  readonly name: string;
  /** Monotonic ms. */
  readonly begun: number;
  readonly ended: number;
  /** Undefined: the answer was right. */
  readonly error: string | undefined;
  readonly code: number;
}

export interface GrpcLoad {
  /** Calls that have ended. */
  readonly calls: readonly CallRecord[];
  stop(): Promise<readonly CallRecord[]>;
}

let names = 0;

export function unary(client: Client, text: string): Promise<{ error: ServiceError | null; text: string | undefined }> {
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + 30_000 };
    client.makeUnaryRequest(paths.unary, same, same, Buffer.from(text), options, (error, value) =>
      resolve({ error, text: value?.toString() }),
    );
  });
}

/** Unary calls to a server that echoes, without a pause in each of `lanes`, over a connection for each lane. */
export function grpcLoad(port: number, lanes: number): GrpcLoad {
  const calls: CallRecord[] = [];
  let going = true;
  const lane = async (): Promise<void> => {
    const client = echoClient(port);
    while (going) {
      const name = `call-${(names += 1)}`;
      const begun = performance.now();
      const { error, text } = await unary(client, name);
      const wrong = text === name ? undefined : `answer '${text}'`;
      calls.push({
        name,
        begun,
        ended: performance.now(),
        error: error ? `${error.code} ${error.details}` : wrong,
        code: error?.code ?? status.OK,
      });
      await sleep(1);
    }
    client.close();
  };
  const all = Promise.all(Array.from({ length: lanes }, lane));
  return {
    calls,
    async stop() {
      going = false;
      await all;
      return calls;
    },
  };
}

export function failures(calls: readonly CallRecord[]): readonly string[] {
  return calls.flatMap(({ error }) => error ?? []);
}
