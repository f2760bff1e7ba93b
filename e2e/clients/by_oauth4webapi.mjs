// An application by oauth4webapi, which reads every answer strictly by the RFCs; and a resource of somebody else's, which
// verifies by it the access tokens that Clearway gives (RFC 9068).
// Prints the steps that went as they should, as one line of JSON.

import { GATEWAY, agree, decide, expect, load, register, signIn } from './person.mjs';

const oauth = await load('oauth4webapi');
const REDIRECT = 'https://app.example/callback';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const done = [];

const found = async (algorithm) => {
  const issuer = new URL(GATEWAY);
  return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm }));
};
const as = await found('oauth2');
expect(JSON.stringify(as) === JSON.stringify(await found('oidc')), 'both documents say the same');
done.push('discovery');

const app = await register({
  name: 'By oauth4webapi',
  redirect_uris: [REDIRECT],
  scopes: ['read:keys'],
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE],
  token_endpoint_auth_method: 'client_secret_post',
});
const client = { client_id: app.client_id };
const proof = oauth.ClientSecretPost(app.client_secret);
const cookie = await signIn();

const verifier = oauth.generateRandomCodeVerifier();
const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
const parameters = new URLSearchParams({
  response_type: 'code',
  client_id: client.client_id,
  redirect_uri: REDIRECT,
  scope: 'openid email read:keys',
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  nonce,
});
const kept = await oauth.pushedAuthorizationRequest(as, client, proof, parameters);
const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, kept);
const url = new URL(as.authorization_endpoint);
url.search = new URLSearchParams({ client_id: client.client_id, request_uri });
done.push('pushed');

const answered = oauth.validateAuthResponse(as, client, await agree(cookie, url), state);
const given = await oauth.authorizationCodeGrantRequest(as, client, proof, answered, REDIRECT, verifier);
const tokens = await oauth.processAuthorizationCodeResponse(as, client, given, { expectedNonce: nonce, requireIdToken: true });
await oauth.validateApplicationLevelSignature(as, given);
const { sub } = oauth.getValidatedIdTokenClaims(tokens);
done.push('code', 'id_token');

const told = await oauth.userInfoRequest(as, client, tokens.access_token);
expect((await oauth.processUserInfoResponse(as, client, sub, told)).email_verified === true, 'a verified address');
done.push('userinfo');

const asked = new Request(`${GATEWAY}/orders`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
const claims = await oauth.validateJwtAccessToken(as, asked, GATEWAY);
expect(claims.sub === sub && claims.client_id === client.client_id, JSON.stringify(claims));
done.push('access_token');

const again = await oauth.refreshTokenGrantRequest(as, client, proof, tokens.refresh_token);
const refreshed = await oauth.processRefreshTokenResponse(as, client, again);
expect(refreshed.refresh_token !== tokens.refresh_token, 'another refresh token');
done.push('refresh');

const active = async (token) => {
  const answer = await oauth.introspectionRequest(as, client, proof, token);
  return (await oauth.processIntrospectionResponse(as, client, answer)).active;
};
expect(await active(refreshed.access_token), 'active');
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, proof, refreshed.access_token));
expect(!(await active(refreshed.access_token)), 'not active any more');
expect(await active(refreshed.refresh_token), 'an access token ends alone');
done.push('introspection', 'revocation');

const alone = await oauth.clientCredentialsGrantRequest(as, client, proof, { scope: 'read:keys' });
expect((await oauth.processClientCredentialsResponse(as, client, alone)).scope === 'read:keys', 'a scope');
done.push('client_credentials');

const begun = await oauth.deviceAuthorizationRequest(as, client, proof, { scope: 'openid read:keys' });
const device = await oauth.processDeviceAuthorizationResponse(as, client, begun);
expect((await decide(cookie, device.verification_uri_complete)).status === 200, "the device's page");
const first = await oauth.deviceCodeGrantRequest(as, client, proof, device.device_code);
expect((await oauth.processDeviceCodeResponse(as, client, first)).id_token !== undefined, 'an ID token');
done.push('device');

const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
const proved = await oauth.clientCredentialsGrantRequest(as, client, proof, { scope: 'read:keys' }, { DPoP });
const bound = await oauth.processClientCredentialsResponse(as, client, proved);
expect(bound.token_type === 'dpop', bound.token_type);
const target = new URL(`${GATEWAY}/api/v1/keys`);
let sent;
const seen = (at, options) => fetch(at, (sent = options));
const shown = { DPoP, [oauth.customFetch]: seen };
expect((await oauth.protectedResourceRequest(bound.access_token, 'GET', target, undefined, undefined, shown)).status === 200, 'keys');
const confirmed = await oauth.validateJwtAccessToken(as, new Request(target, { headers: sent.headers }), GATEWAY);
expect(confirmed.cnf.jkt !== undefined, JSON.stringify(confirmed));
/** What the gateway says to whoever has seen the request, or the token. */
const says = async (headers) => {
  const answer = await fetch(target, { headers });
  return [answer.status, (await answer.json()).error.type, answer.headers.get('www-authenticate').split(' ')[0]].join(' ');
};
expect((await says(sent.headers)) === '401 token_proof_invalid DPoP', await says(sent.headers));
const stolen = { authorization: `Bearer ${bound.access_token}` };
expect((await says(stolen)) === '401 token_proof_missing DPoP', await says(stolen));
done.push('dpop');

const used = await oauth.refreshTokenGrantRequest(as, client, proof, tokens.refresh_token);
const refusal = await oauth.processRefreshTokenResponse(as, client, used).catch((error) => error);
expect(refusal instanceof oauth.ResponseBodyError || refusal.refresh_token === refreshed.refresh_token, String(refusal));
const replayed = await oauth.refreshTokenGrantRequest(as, client, proof, tokens.refresh_token);
const ended = await oauth.processRefreshTokenResponse(as, client, replayed).catch((error) => error);
expect(ended.error === 'invalid_grant' && ended.status === 400, String(ended));
done.push('refusal');

console.log(JSON.stringify(done));
