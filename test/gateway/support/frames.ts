/** HTTP/2 frames as bytes, to send what Node would not (RFC 9113). */

/** §3.4. */
export const preface: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** §6. */
export const frameType = {
  data: 0,
  headers: 1,
  rstStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** Flags that the tests use; ACK and END_STREAM share a bit. */
export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;

/** §7. */
export const errorCode = {
  none: 0,
  protocol: 1,
  flowControl: 3,
  frameSize: 6,
  cancel: 8,
  compression: 9,
  enhanceYourCalm: 11,
} as const;

/** §4.1: length, type, flags, stream. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** §6.5.1: identifier and value of each. */
export function settings(values: readonly (readonly [id: number, value: number])[] = []): Buffer {
  const entries = values.map(([id, value]) => {
    const entry = Buffer.alloc(6);
    entry.writeUInt16BE(id);
    entry.writeUInt32BE(value >>> 0, 2);
    return entry;
  });
  return frame(frameType.settings, 0, 0, Buffer.concat(entries));
}

/** RFC 7541 §6.2.2: literals without indexing, new names, no Huffman coding. */
export function fields(pairs: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** RFC 7541 §5.2, with the integer of §5.1. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  for (let rest = bytes.length - 127; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) {
      length.push(rest);
      break;
    }
    length.push((rest % 128) + 128);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** Splits what came into frames and what is incomplete at the end. */
export function readFrames(bytes: Buffer): { readonly frames: SeenFrame[]; readonly rest: Buffer } {
  const frames: SeenFrame[] = [];
  let at = 0;
  while (at + 9 <= bytes.length) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    frames.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5) & 0x7fff_ffff,
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return { frames, rest: bytes.subarray(at) };
}
