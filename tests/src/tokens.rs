//! Who vouches: a certificate authority, and a server that grants tokens for a registry (distribution's "Token
//! Authentication Specification"), signed with a certificate that the registry believes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SigningKey};
use serde_json::{Value, json};

use crate::registry::{PASSWORD, USER};

/// What the registry calls itself.
pub const SERVICE: &str = "registry-of-tests";
/// Who grants.
pub const ISSUER: &str = "tests";
/// What is granted in place of the password.
pub const IDENTITY: &str = "identity-t0ken";

/// Signs certificates.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Issued {
    /// What is shown.
    pub certificate: String,
    /// What is not.
    pub key: String,
}

impl Authority {
    /// A new one, which nobody knows.
    pub fn new() -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of tests");
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Authority { pem, issuer: Issuer::new(params, key) })
    }

    /// Its own certificate.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// A certificate for this name, be it a server's or a client's.
    pub fn issue(&self, name: &str) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Grants tokens to [`USER`], for the password or for [`IDENTITY`]. Ends with the process.
pub struct TokenServer {
    port: u16,
    pem: String,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Signer {
    key: KeyPair,
    certificate: String,
}

impl TokenServer {
    /// Returns once it listens.
    pub fn start() -> Result<TokenServer> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, ISSUER);
        let certificate = params.self_signed(&key)?;
        let signer = Signer { key, certificate: STANDARD.encode(certificate.der()) };
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One that breaks off is asked again.
                let _ = signer.serve(stream, &log);
            }
        });
        Ok(TokenServer { port, pem: certificate.pem(), asked })
    }

    /// Where it is asked.
    pub fn realm(&self) -> String {
        format!("http://localhost:{}/token", self.port)
    }

    /// What the registry has to believe.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// What it was asked: methods and scopes, never a secret.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Signer {
    fn serve(&self, stream: TcpStream, log: &Mutex<Vec<String>>) -> Result<()> {
        let mut reader = BufReader::new(stream);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let (mut login, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "authorization" => login = value.to_owned(),
                "content-length" => length = value.parse()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = first.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let query = match method {
            "POST" => String::from_utf8(body)?,
            _ => target.split_once('?').map_or("", |(_, query)| query).to_owned(),
        };
        let all = |wanted: &str| -> Vec<String> {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(name, _)| *name == wanted).map(|(_, value)| decoded(value)).collect()
        };
        let scopes: Vec<String> =
            all("scope").iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect();
        if let Ok(mut log) = log.lock() {
            log.push(format!("{method} {}", scopes.join(" ")));
        }
        let good = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let known = login == good || (method == "POST" && all("refresh_token") == [IDENTITY]);
        let (status, answer) = match known {
            true => {
                let token = self.token(&scopes)?;
                let mut answer = json!({ "token": token, "access_token": token, "expires_in": 300 });
                if all("offline_token") == ["true"] {
                    answer["refresh_token"] = IDENTITY.into();
                }
                (200, answer)
            }
            false => (401, json!({ "details": "incorrect username or password" })),
        };
        let body = answer.to_string();
        write!(
            reader.get_mut(),
            "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )?;
        Ok(())
    }

    fn token(&self, scopes: &[String]) -> Result<String> {
        let access: Vec<Value> = scopes
            .iter()
            .filter_map(|scope| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
            })
            .collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [self.certificate] });
        let claims = json!({
            "iss": ISSUER, "sub": USER, "aud": SERVICE, "exp": now + 300, "nbf": now - 60, "iat": now,
            "jti": now.to_string(), "access": access,
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(signed.as_bytes())?;
        let raw = raw_signature(&signature).context("a signature is two numbers")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw)))
    }
}

/// The two numbers of an ECDSA signature in DER, each in 32 bytes, as JWS wants them (RFC 7518 §3.4).
fn raw_signature(der: &[u8]) -> Option<Vec<u8>> {
    let mut rest = der.strip_prefix(&[0x30])?.get(1..)?;
    let mut raw = Vec::new();
    for _ in 0..2 {
        let length = usize::from(*rest.strip_prefix(&[0x02])?.first()?);
        let number = rest.get(2..2 + length)?;
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        raw.extend(std::iter::repeat_n(0, 32_usize.checked_sub(number.len())?));
        raw.extend_from_slice(number);
        rest = rest.get(2 + length..)?;
    }
    Some(raw)
}

/// Percent-decoding, as far as scopes and tokens need it.
fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.map_or('%', char::from));
        decoded.push_str(part.get(2..).unwrap_or_default());
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_two_numbers_of_32_bytes() {
        let mut der = vec![0x30, 0x45, 0x02, 0x21, 0x00];
        der.extend([0x80; 32]);
        der.extend([0x02, 0x01, 0x07]);
        let raw = raw_signature(&der).unwrap();
        assert_eq!((raw.len(), raw[0], raw[62], raw[63]), (64, 0x80, 0, 7));
        assert_eq!(raw_signature(b"nonsense"), None);
    }

    #[test]
    fn scopes_are_decoded() {
        assert_eq!(decoded("repository%3Aa%2Fb%3Apull%2Cpush+x"), "repository:a/b:pull,push x");
    }
}
