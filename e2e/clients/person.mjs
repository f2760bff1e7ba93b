// What a person does in a browser: signs in, reads a page of Clearway's, and sends its form.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

export const GATEWAY = process.env.CLEARWAY_URL;

/** A package of those that `make prerequisites` installs: imports by name look for packages beside the script alone. */
export const load = (name) => import(pathToFileURL(createRequire(import.meta.url).resolve(name)));

const form = { 'content-type': 'application/x-www-form-urlencoded' };

async function ok(answer) {
  if (!answer.ok) throw new Error(`${answer.url}: ${answer.status} ${await answer.text()}`);
  return answer;
}

/** An application, as its developer registers it. */
export async function register(app) {
  const headers = { authorization: `Bearer ${process.env.CLEARWAY_API_KEY}`, 'content-type': 'application/json' };
  const answer = await fetch(`${GATEWAY}/api/v1/oauth/clients`, { method: 'POST', headers, body: JSON.stringify(app) });
  return (await (await ok(answer)).json()).data;
}

/** The cookie of somebody who has signed in. */
export async function signIn() {
  const body = { email: process.env.CLEARWAY_EMAIL, password: process.env.CLEARWAY_PASSWORD, cookie: true };
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${GATEWAY}/api/v1/auth/login`, { method: 'POST', headers, body: JSON.stringify(body) });
  return (await ok(answer)).headers.getSetCookie().map((cookie) => cookie.split(';')[0]).join('; ');
}

function hidden(html) {
  const plain = (text) =>
    text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&amp;', '&');
  return [...html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)].map(([, name, value]) => [plain(name), plain(value)]);
}

/** Opens a page that asks, and says yes. */
export async function decide(cookie, url) {
  const page = await ok(await fetch(url, { headers: { cookie } }));
  const body = new URLSearchParams([...hidden(await page.text()), ['decision', 'allow']]);
  const [at] = String(url).split('?');
  return fetch(at, { method: 'POST', headers: { cookie, ...form }, body, redirect: 'manual' });
}

/** Where the browser is sent after the person has agreed. */
export async function agree(cookie, url) {
  const answer = await decide(cookie, url);
  const location = answer.headers.get('location');
  if (!location) throw new Error(`${answer.status} ${await answer.text()}`);
  return new URL(location);
}

export function expect(holds, what) {
  if (!holds) throw new Error(`not as expected: ${what}`);
}
