//! An issuer of tokens on loopback: its keys, its discovery document, how often it was asked, and tokens of any shape.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const AUDIENCE: &str = "https://api.example.com";

/// A key that signs.
pub(crate) struct Signer {
    pub(crate) id: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
}

impl Signer {
    pub(crate) fn rsa(id: &str) -> Signer {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pem = pem(der.as_ref());
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        Signer { id: id.to_owned(), algorithm: Algorithm::RS256, key }
    }

    pub(crate) fn ec(id: &str) -> Signer {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_der(pair.serialized_der());
        Signer { id: id.to_owned(), algorithm: Algorithm::ES256, key }
    }

    /// Its public half.
    pub(crate) fn jwk(&self) -> Json {
        let mut jwk = json!(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap());
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with a header and claims of any kind.
    pub(crate) fn sign(&self, header: &Json, claims: &Json) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn sign_texts(&self, header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    pub(crate) fn header(&self) -> Json {
        json!({"alg": format!("{:?}", self.algorithm), "kid": self.id, "typ": "at+jwt"})
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// An identity provider as far as tokens go.
pub(crate) struct Issuer {
    pub(crate) url: String,
    /// Of documents that were asked for.
    pub(crate) asked: Arc<AtomicUsize>,
    pub(crate) keys: Arc<Mutex<Vec<Json>>>,
    /// It answers 500 instead.
    pub(crate) is_down: Arc<AtomicBool>,
}

impl Issuer {
    pub(crate) fn start(keys: &[&Signer]) -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let keys = Arc::new(Mutex::new(keys.iter().map(|key| key.jwk()).collect()));
        let issuer = Issuer {
            url: url.clone(),
            asked: Arc::default(),
            keys: Arc::clone(&keys),
            is_down: Arc::default(),
        };
        let (asked, is_down) = (Arc::clone(&issuer.asked), Arc::clone(&issuer.is_down));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 4096];
                let length = stream.read(&mut head).unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                asked.fetch_add(1, Ordering::SeqCst);
                let body = match head.split(' ').nth(1) {
                    Some("/.well-known/openid-configuration") => {
                        json!({"issuer": url, "jwks_uri": format!("{url}/jwks")})
                    }
                    _ => json!({"keys": *keys.lock().unwrap()}),
                };
                let status = if is_down.load(Ordering::SeqCst) { "500 Down" } else { "200 OK" };
                let body = body.to_string();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        issuer
    }

    /// Claims of a good token for a subject.
    pub(crate) fn claims(&self, subject: &str) -> Json {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": self.url, "sub": subject, "aud": [AUDIENCE, "other"], "iat": now - 5, "nbf": now - 5, "exp": now + 600,
            "organization": ["acme-org"], "name": "Alice A.", "email": "alice@example.com", "auth_time": now - 60, "acr": "1",
        })
    }
}
