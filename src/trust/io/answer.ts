import { Metadata, type sendUnaryData, type ServerUnaryCall } from '@grpc/grpc-js';
import { IsthmusError } from '../../model/error.ts';
import type { Log } from '../../model/ports/log.ts';
import { toGrpcFailure } from '../../runtime/grpc-status.ts';

/** Answers a unary call with what `decide` returns or throws; surprises are logged, never shown to the caller. */
export function answer<Request, Response>(
  name: string,
  log: Log,
  decide: (call: ServerUnaryCall<Request, Response>) => Response | Promise<Response>,
): (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => void {
  const refuse = (call: ServerUnaryCall<Request, Response>, thrown: unknown): void => {
    const error = IsthmusError.from(thrown);
    const fields = { call: name, from: call.getPeer(), code: error.code, why: error.message };
    if (error.code === 'internal') log.error({ ...fields, err: error }, 'call failed');
    else log.warn(fields, 'call refused');
  };
  const respond = async (
    call: ServerUnaryCall<Request, Response>,
    callback: sendUnaryData<Response>,
  ): Promise<void> => {
    let response: Response;
    try {
      response = await decide(call);
    } catch (thrown) {
      refuse(call, thrown);
      callback({ ...toGrpcFailure(thrown), metadata: retryMetadata(thrown) });
      return;
    }
    callback(null, response);
  };
  return (call, callback) => void respond(call, callback);
}

/** RFC 9110 §10.2.3: whole seconds, in the trailers of a call that came too soon. */
function retryMetadata(thrown: unknown): Metadata {
  const metadata = new Metadata();
  const afterMs = thrown instanceof IsthmusError ? thrown.retryAfterMs : undefined;
  if (afterMs !== undefined) metadata.set('retry-after', String(Math.ceil(afterMs / 1000)));
  return metadata;
}
