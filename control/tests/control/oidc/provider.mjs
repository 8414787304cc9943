// A real identity provider for the tests: oidc-provider on loopback, one client, whoever the test says signs in.
// node provider.mjs FOLDER PORT PUBLIC_URL CLIENT_SECRET; says `ready` on stdout.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

// Whoever waits for `ready` reads one line and hangs up.
console.log = console.info = console.warn = console.error;
const [folder, port, publicUrl, secret] = process.argv.slice(2);
const { Provider } = await import(`${folder}/node_modules/oidc-provider/lib/index.js`);
const issuer = `http://127.0.0.1:${port}`;
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

// What the test said of an account when it signed in: claims beside `sub`.
const accounts = new Map();
const sessions = new Map();

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256', kid: `key-${Date.now()}` }] },
  clients: [{
    client_id: 'tollgate',
    client_secret: secret,
    redirect_uris: [`${publicUrl}/v1/auth/callback`],
    grant_types: ['authorization_code'],
    response_types: ['code'],
    backchannel_logout_uri: `${publicUrl}/v1/auth/backchannel-logout`,
    backchannel_logout_session_required: true,
  }],
  claims: {
    iss: null,
    openid: ['sub', 'acr', 'auth_time', 'sid'], profile: ['name'], email: ['email'],
    organization: ['organization'], 'organization:acme-org': ['organization'], 'organization:ops': ['organization'],
  },
  scopes: ['openid', 'profile', 'email', 'organization', 'organization:acme-org', 'organization:ops'],
  acrValues: ['1', '2'],
  conformIdTokenClaims: false,
  cookies: { keys: ['a key of a test'] },
  features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // Without its guard against addresses like loopback's, where the service under test listens.
  fetch: (address, { dispatcher: _guard, ...options }) => globalThis.fetch(address, options),
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) }),
});
provider.on('grant.success', (ctx) => {
  const { accountId, sid } = ctx.oidc.entities.AuthorizationCode;
  sessions.set(accountId, sid);
});

// GET /interaction/UID?as=SUBJECT&claims=JSON&acr=N: signs in and consents.
async function interact(request, response, url) {
  const { params } = await provider.interactionDetails(request, response);
  if (url.searchParams.has('refuse')) {
    return provider.interactionFinished(request, response, { error: 'access_denied' });
  }
  const accountId = url.searchParams.get('as');
  if (!accountId) return response.end('as whom?');
  accounts.set(accountId, JSON.parse(url.searchParams.get('claims') ?? '{}'));
  const grant = new provider.Grant({ accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const login = { accountId, acr: url.searchParams.get('acr') ?? '1' };
  return provider.interactionFinished(request, response, { login, consent: { grantId: await grant.save() } });
}

// GET /sign-out?as=SUBJECT[&session=1]: tells the client by the back channel, with the session if it is to be named.
async function signOut(response, url) {
  const subject = url.searchParams.get('as');
  const client = await provider.Client.find('tollgate');
  await client.backchannelLogout(subject, sessions.get(subject));
  response.end('told');
}

createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  try {
    if (url.pathname.startsWith('/interaction/')) await interact(request, response, url);
    else if (url.pathname === '/sign-out') await signOut(response, url);
    else provider.callback()(request, response);
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error?.cause?.stack ?? error?.stack ?? error));
  }
}).listen(port, '127.0.0.1', () => process.stdout.write('ready\n'));
