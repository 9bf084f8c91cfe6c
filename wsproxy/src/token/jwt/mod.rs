//! `JWTTokenApi`: the token is a JSON Web Token (RFC 7519) that holds its target, as `host` and `port`.
//!
//! One key serves for all, as in websockify: it checks signatures (JWS, RFC 7515) and opens encrypted tokens (JWE, RFC 7516).
//! What is inside an encrypted token is a signed one. Only where the key is symmetric may the claims themselves be inside:
//! whoever can encrypt with it could sign as well, while everybody can encrypt to a public key.

mod jwe;
mod key;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Lookup, Miss, Plugin, described};
use crate::dial::Destination;
use crate::file;
use crate::setting::{Anchored, BadSetting};
use key::Key;

/// Tokens that hold their targets.
#[derive(Debug)]
pub(super) struct Jwt(Key);

/// What a token says.
type Claims = Map<String, Value>;

impl Jwt {
    /// Reads the file of the key.
    pub(super) fn open(source: &Anchored) -> Result<Self, BadSetting> {
        let path = source.path()?;
        let bytes = file::read(&path).map_err(|error| source.bad_file(&path, error))?;
        Key::read(&bytes).map(Jwt).map_err(|why| source.bad_file(&path, why))
    }

    fn target(&self, token: &str, now: f64) -> Result<Destination, Miss> {
        let refused = |why: String| Miss::Refused(why);
        let claims = if is_encrypted(token) { self.opened(token) } else { self.signed(token) };
        let claims = claims.map_err(refused)?;
        timely(&claims, now).map_err(refused)?;
        described(&claims).map_err(|_| refused("it holds no target: host, port".into()))
    }

    fn signed(&self, token: &str) -> Result<Claims, String> {
        let (message, proof) = token.rsplit_once('.').ok_or(NONE)?;
        let (header, claims) = message.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(NONE)?;
        let header = header_of(header)?;
        // RFC 7515 section 4.1.11: what is critical and not understood makes the token invalid. What is not critical and not
        // understood is ignored, whatever it is (section 4).
        if header.contains_key("crit") {
            return Err("its header asks for something that is not supported (crit)".into());
        }
        let alg = header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = alg.parse().ok().filter(|algorithm| self.0.algorithms().contains(algorithm));
        let algorithm = algorithm.ok_or_else(|| format!("its alg, {alg:?}, is not one for this key"))?;
        match jsonwebtoken::crypto::verify(proof, message.as_bytes(), self.0.verifying(), algorithm) {
            Ok(true) => {}
            Ok(false) => return Err("it is not signed with the key".into()),
            Err(error) => return Err(error.to_string()),
        }
        serde_json::from_slice(&decoded(claims)?).map_err(|_| "its claims are no JSON object".to_owned())
    }

    fn opened(&self, token: &str) -> Result<Claims, String> {
        let inside = String::from_utf8(jwe::open(token, &self.0)?).map_err(|_| "it holds no text".to_owned())?;
        match serde_json::from_str(&inside) {
            Ok(claims) if self.0.is_symmetric() => Ok(claims),
            Ok(_) => Err("it is not signed".into()),
            Err(_) => self.signed(&inside),
        }
    }
}

impl Plugin for Jwt {
    fn lookup<'a>(&'a self, token: &'a str) -> Lookup<'a> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Box::pin(std::future::ready(self.target(token, now)))
    }
}

/// What is told of what is no token at all.
const NONE: &str = "it is no signed token";

/// A part of a token.
fn decoded(part: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not in base64url".to_owned())
}

/// The fields of a header.
fn header_of(part: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| "its header is no JSON object".to_owned())
}

/// A JWE has five parts, a JWS three (RFC 7516 section 9).
fn is_encrypted(token: &str) -> bool {
    token.split('.').count() == 5
}

/// Whether it is between the times that a token names: RFC 7519 sections 4.1.4 and 4.1.5.
fn timely(claims: &Claims, now: f64) -> Result<(), String> {
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(time) => time.as_f64().map(Some).ok_or(format!("{name} is no time")),
    };
    // "The current date/time MUST be before the expiration date/time", and "after or equal to the not-before date/time".
    if time("exp")?.is_some_and(|end| now >= end) {
        return Err("it has expired".into());
    }
    if time("nbf")?.is_some_and(|begin| now < begin) {
        return Err("it is not valid yet".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

    const SECRET: [u8; 32] = [7; 32];

    fn jwt() -> Jwt {
        Jwt(Key::read(URL_SAFE_NO_PAD.encode(SECRET).as_bytes()).unwrap())
    }

    fn signed(algorithm: Algorithm, claims: &str) -> String {
        let claims: Claims = serde_json::from_str(claims).unwrap();
        encode(&Header::new(algorithm), &claims, &EncodingKey::from_secret(&SECRET)).unwrap()
    }

    fn judged(claims: &str) -> Result<String, Miss> {
        jwt().target(&signed(Algorithm::HS256, claims), 1000.0).map(|target| target.to_string())
    }

    #[test]
    fn a_token_is_good_from_nbf_until_exp() {
        let good = Ok("h:1".to_owned());
        assert_eq!(judged(r#"{"host":"h","port":1}"#), good);
        assert_eq!(judged(r#"{"host":"h","port":1,"nbf":1000,"exp":1000.5,"aud":"x"}"#), good);
        let refused = |why: &str| Err(Miss::Refused(why.into()));
        assert_eq!(judged(r#"{"host":"h","port":1,"exp":1000}"#), refused("it has expired"));
        assert_eq!(judged(r#"{"host":"h","port":1,"nbf":1001}"#), refused("it is not valid yet"));
        assert_eq!(judged(r#"{"host":"h","port":1,"exp":"2000"}"#), refused("exp is no time"));
        assert_eq!(judged(r#"{"port":1}"#), refused("it holds no target: host, port"));
    }

    #[test]
    fn fields_that_are_not_understood_are_ignored_unless_they_are_critical() {
        let with = |fields: &str| {
            let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256"{fields}}}"#));
            let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(r#"{"host":"h","port":1}"#));
            let key = EncodingKey::from_secret(&SECRET);
            let proof = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            jwt().target(&format!("{message}.{proof}"), 0.0)
        };
        for fields in ["", r#","x":1,"y":{"z":[true]}"#, r#","typ":null,"cty":5,"kid":"k","jwk":"j","x5c":{}"#] {
            assert!(with(fields).is_ok(), "{fields}");
        }
        for fields in [r#","crit":["x"],"x":1"#, r#","crit":["b64"],"b64":false"#, r#","crit":[]"#, r#","crit":"exp""#]
        {
            let refused = with(fields);
            assert!(matches!(&refused, Err(Miss::Refused(why)) if why.contains("crit")), "{fields}: {refused:?}");
        }
    }

    #[test]
    fn what_is_not_signed_with_the_key_is_refused() {
        let claims = r#"{"host":"h","port":1}"#;
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            assert!(jwt().target(&signed(algorithm, claims), 0.0).is_ok());
        }
        let good = signed(Algorithm::HS256, claims);
        let [head, body, proof] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
        let other = URL_SAFE_NO_PAD.encode(r#"{"host":"h","port":2}"#);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        for bad in [
            format!("{head}.{other}.{proof}"),
            format!("{none}.{body}."),
            format!("{none}.{body}.{proof}"),
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            format!("{good}.."),
            String::new(),
        ] {
            assert!(matches!(jwt().target(&bad, 0.0), Err(Miss::Refused(_))), "{bad}");
        }
    }
}
