import { IsthmusError } from '../../model/error.ts';

const maxUrlChars = 2048;

/**
 * The URL of a bundle endpoint (SPIFFE Federation §5.2.1.1, §5.2.2.1): `https`, a host, no user information.
 * @throws IsthmusError `invalid`
 */
export function parseEndpointUrl(text: string): URL {
  const url = text.length <= maxUrlChars ? URL.parse(text) : null;
  const shown = text.slice(0, 200);
  if (url?.protocol !== 'https:' || url.hostname === '') {
    throw new IsthmusError('invalid', `A bundle endpoint must be an https:// URL: current value is '${shown}'`);
  }
  if (url.username !== '' || url.password !== '' || /^https:\/\/[^/?#]*@/i.test(text)) {
    throw new IsthmusError('invalid', `The URL of a bundle endpoint must carry no user information: '${shown}'`);
  }
  return url;
}
