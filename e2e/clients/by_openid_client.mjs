// Applications by openid-client, which is certified for OpenID Connect: found by discovery, and every answer checked by it.
// Prints the steps that went as they should, as one line of JSON.

import { GATEWAY, agree, decide, expect, load, register, signIn } from './person.mjs';

const client = await load('openid-client');
const REDIRECT = 'https://app.example/callback';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const done = [];

const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey);
const app = await register({
  name: 'By openid-client',
  redirect_uris: [REDIRECT],
  scopes: ['read:keys'],
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE],
  token_endpoint_auth_method: 'private_key_jwt',
  jwks: { keys: [{ kty, crv, x, y, kid: 'one' }] },
});
const prove = client.PrivateKeyJwt({ key: pair.privateKey, kid: 'one' });
const config = await client.discovery(new URL(GATEWAY), app.client_id, undefined, prove);
// Signatures are checked, although they came over TLS.
client.enableNonRepudiationChecks(config);
expect(config.serverMetadata().supportsPKCE(), 'S256 in the metadata');
done.push('discovery');

const cookie = await signIn();

/** A request that somebody agrees to; the tokens that came of it. */
async function signedIn(parameters, build = client.buildAuthorizationUrl, as = config, options = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
  const url = await build(as, {
    redirect_uri: REDIRECT,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: expectedState,
    nonce: expectedNonce,
    ...parameters,
  });
  const back = await agree(cookie, url);
  const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true, maxAge: 3600 };
  return client.authorizationCodeGrant(as, back, checks, undefined, options);
}

const tokens = await signedIn({ scope: 'openid profile email read:keys', max_age: '3600' });
const { sub } = tokens.claims();
done.push('code', 'id_token');

const who = await client.fetchUserInfo(config, tokens.access_token, sub);
expect(who.email_verified === true && who.name !== undefined, JSON.stringify(who));
done.push('userinfo');

const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
expect(refreshed.refresh_token !== tokens.refresh_token, 'another refresh token');
const keys = await client.fetchProtectedResource(config, refreshed.access_token, new URL(`${GATEWAY}/api/v1/keys`), 'GET');
expect(keys.status === 200, `keys: ${keys.status}`);
done.push('refresh');

expect((await client.tokenIntrospection(config, refreshed.access_token)).active === true, 'active');
await client.tokenRevocation(config, refreshed.refresh_token);
expect((await client.tokenIntrospection(config, refreshed.access_token)).active === false, 'not active any more');
done.push('introspection', 'revocation');

const pushed = await signedIn({ scope: 'openid read:keys', prompt: 'consent' }, client.buildAuthorizationUrlWithPAR);
expect(pushed.claims().sub === sub, 'the same person');
done.push('pushed');

const alone = await client.clientCredentialsGrant(config, { scope: 'read:keys', resource: `${GATEWAY}/api/v1` });
expect(alone.scope === 'read:keys' && alone.refresh_token === undefined, JSON.stringify(alone));
done.push('client_credentials');

const device = await client.initiateDeviceAuthorization(config, { scope: 'openid read:keys' });
const allowed = await decide(cookie, device.verification_uri_complete);
expect(allowed.status === 200, `the device's page: ${allowed.status}`);
const polled = await client.pollDeviceAuthorizationGrant(config, device);
expect(polled.claims().sub === sub, 'the person who agreed');
done.push('device');

const itself = { client_name: 'By itself', redirect_uris: [REDIRECT], token_endpoint_auth_method: 'client_secret_post' };
const own = await client.dynamicClientRegistration(new URL(GATEWAY), itself);
client.enableNonRepudiationChecks(own);
const { access_token } = await signedIn({ scope: 'openid email' }, client.buildAuthorizationUrl, own);
expect((await client.fetchUserInfo(own, access_token, sub)).email === who.email, 'the same address');
done.push('registration');

const public_ = { ...itself, grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'none' };
const bound = await client.dynamicClientRegistration(
  new URL(GATEWAY),
  { ...public_, dpop_bound_access_tokens: true },
  client.None(),
);
client.enableNonRepudiationChecks(bound);
const DPoP = client.getDPoPHandle(bound, await client.randomDPoPKeyPair());
const push = (as, parameters) => client.buildAuthorizationUrlWithPAR(as, parameters, { DPoP });
const first = await signedIn({ scope: 'openid email' }, push, bound, { DPoP });
expect(first.token_type === 'dpop', first.token_type);
const next = await client.refreshTokenGrant(bound, first.refresh_token, undefined, { DPoP });
expect((await client.fetchUserInfo(bound, next.access_token, sub, { DPoP })).email === who.email, 'the same address');
// The token says too little for it; that it is shown rightly is seen first, by the gateway.
const options = { DPoP };
const scant = await client
  .fetchProtectedResource(bound, next.access_token, new URL(`${GATEWAY}/api/v1/keys`), 'GET', undefined, undefined, options)
  .catch((error) => error);
expect(scant.status === 403, String(scant));
const thief = client.getDPoPHandle(bound, await client.randomDPoPKeyPair());
const refused = await client.refreshTokenGrant(bound, next.refresh_token, undefined, { DPoP: thief }).catch((error) => error);
expect(refused.error === 'invalid_grant', String(refused));
done.push('dpop');

console.log(JSON.stringify(done));
