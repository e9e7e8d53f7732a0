import { IsthmusError } from '../../model/error.ts';

/** A token or a password is far shorter. */
const maxBytes = 64 << 10;

/** Everything a stream has. @throws IsthmusError `invalid` beyond 64 KiB */
export async function readAll(stream: AsyncIterable<Uint8Array | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > maxBytes) throw new IsthmusError('invalid', `Standard input has more than ${maxBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}
