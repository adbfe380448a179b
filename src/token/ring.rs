//! Tokens with the current key and the one before it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    claims::{Claims, MAX_PAYLOAD, UnixTime},
    key::SigningKey,
    mac::TAG,
};

/// Characters of a token: a whole payload, the dot and 43 of the signature.
pub const MAX_TOKEN: usize = (MAX_PAYLOAD * 4).div_ceil(3) + 1 + SIGNATURE;
/// Characters of 32 bytes in base64url without padding.
const SIGNATURE: usize = 43;

/// Why a token is refused. The codes are for logs and the answer alike; the answer says no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not two parts, too long, or a signature that is no base64url of 32 bytes.
    #[error("the token is malformed")]
    Malformed,
    /// Neither key signed it.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// Signed, but not by this version of the program.
    #[error("the token's payload is not understood")]
    BadPayload,
    #[error("the token has expired")]
    Expired,
}

impl TokenError {
    pub const ALL: [Self; 4] = [
        Self::Malformed,
        Self::BadSignature,
        Self::BadPayload,
        Self::Expired,
    ];

    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::BadSignature => "token_bad_signature",
            Self::BadPayload => "token_bad_payload",
            Self::Expired => "token_expired",
        }
    }
}

/// Which key it was. What the previous one signed wants a fresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedBy {
    Current,
    Previous,
}

/// The key before this one: what it signed is good until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    pub key: SigningKey,
    pub until: UnixTime,
}

/// Claims that one of our keys signed and that have not expired. Only [`KeyRing::verify`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    claims: Claims,
    signed_by: SignedBy,
}

impl Verified {
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn signed_by(&self) -> SignedBy {
        self.signed_by
    }
}

#[derive(Clone, Debug)]
pub struct KeyRing {
    current: SigningKey,
    previous: Option<Previous>,
}

impl KeyRing {
    pub fn new(current: SigningKey, previous: Option<Previous>) -> Self {
        Self { current, previous }
    }

    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    pub fn previous(&self) -> Option<&Previous> {
        self.previous.as_ref()
    }

    pub fn sign(&self, claims: &Claims) -> String {
        let mut token = String::with_capacity(MAX_TOKEN / 2);
        URL_SAFE_NO_PAD.encode_string(claims.to_json(), &mut token);
        let tag = self.current.mac().tag(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(tag, &mut token);
        token
    }

    /// Bounds, signature, payload, expiry, in this order: nothing of a payload is decoded that
    /// none of our keys signed. The signature is over the encoded payload, so that one payload has
    /// one signed spelling.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Verified, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (payload, signature) = token.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.is_empty() || signature.len() != SIGNATURE {
            return Err(TokenError::Malformed);
        }
        let mut tag = [0; TAG];
        // Strict: no padding, no other alphabet, no bits left over at the end.
        let length = URL_SAFE_NO_PAD
            .decode_slice(signature, &mut tag)
            .map_err(|_| TokenError::Malformed)?;
        let tag = tag.get(..length).unwrap_or_default();
        let signed_by = self
            .signer(payload.as_bytes(), tag, now)
            .ok_or(TokenError::BadSignature)?;

        let mut json = [0; MAX_PAYLOAD];
        let length = URL_SAFE_NO_PAD
            .decode_slice(payload, &mut json)
            .map_err(|_| TokenError::BadPayload)?;
        let json = json.get(..length).unwrap_or_default();
        let claims = Claims::parse(json).map_err(|_| TokenError::BadPayload)?;
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(Verified { claims, signed_by })
    }

    fn signer(&self, message: &[u8], tag: &[u8], now: UnixTime) -> Option<SignedBy> {
        if self.current.mac().verifies(message, tag) {
            return Some(SignedBy::Current);
        }
        let previous = self.previous.as_ref().filter(|p| now < p.until)?;
        previous
            .key
            .mac()
            .verifies(message, tag)
            .then_some(SignedBy::Previous)
    }
}
