import { connect as connectHttp2, constants, type IncomingHttpHeaders } from 'node:http2';

/** What one request came to, seen by a client of Node's own. */
export interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: IncomingHttpHeaders;
  /** Statuses of the responses before the last. */
  readonly infos: readonly number[];
  /** That the stream was closed with; 0: in order. */
  readonly code: number;
}

export interface Question {
  readonly body?: string | Buffer;
  /** After the body. */
  readonly trailers?: Readonly<Record<string, string>>;
}

/** One request over a connection of its own. */
export function ask(
  port: number,
  headers: Readonly<Record<string, string>>,
  { body, trailers }: Question = {},
): Promise<Answer> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on('error', () => undefined);
    const stream = session.request(
      { ...headers },
      { endStream: body === undefined && trailers === undefined, waitForTrailers: trailers !== undefined },
    );
    let answer: IncomingHttpHeaders = {};
    let last: IncomingHttpHeaders = {};
    const infos: number[] = [];
    let text = '';
    stream
      .on('response', (got) => (answer = got))
      .on('headers', (got: IncomingHttpHeaders) => infos.push(Number(got[constants.HTTP2_HEADER_STATUS])))
      .on('trailers', (got: IncomingHttpHeaders) => (last = got))
      .on('wantTrailers', () => stream.sendTrailers({ ...trailers }))
      .on('error', () => undefined);
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    stream.on('close', () => {
      session.destroy();
      const status = answer[':status'];
      resolve({
        status: status === undefined ? undefined : Number(status),
        headers: answer,
        body: text,
        trailers: last,
        infos,
        code: stream.rstCode ?? 0,
      });
    });
    if (body !== undefined || trailers !== undefined) stream.end(body);
  });
}
