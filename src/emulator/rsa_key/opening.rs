//! What the page sealed with our public key, opened (WIRE.md 10).
//!
//! The page encrypts with RSA-OAEP (SHA-256) by WebCrypto; where it has none, which is every page that
//! comes neither by https nor from this machine, with PKCS#1 v1.5 by JSEncrypt. So both are opened, by
//! aws-lc, and neither may tell more than it must: whoever recorded a sealed key could otherwise have it
//! opened bit by bit (Bleichenbacher, Manger). There is one answer, `None`, for a broken padding and for a
//! text that is no key, which every forged one becomes; and few wrong ones are opened at all.

use std::time::{Duration, Instant};

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey,
    PrivateDecryptingKey,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::gateway::settings::ApiKey;

/// In base64, of 2048 bits.
const SEALED_LENGTH: usize = 344;
/// An OpenAI key has 51 to 164 letters. With a shorter one allowed, a forged text would pass for a key.
const KEY_LENGTH: std::ops::RangeInclusive<usize> = 16..=245;
/// Wrong ones that are opened in a while: an oracle wants thousands, a person's page one.
const MAX_WRONG: u32 = 100;
const WHILE: Duration = Duration::from_secs(3600);

pub struct Opener {
    oaep: OaepPrivateDecryptingKey,
    pkcs1: Pkcs1PrivateDecryptingKey,
    wrong: Mutex<Wrong>,
}

#[derive(Debug)]
struct Wrong {
    since: Instant,
    times: u32,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opener")
    }
}

impl Opener {
    /// `None` for a key that cannot do it.
    pub fn new(key: &PrivateDecryptingKey) -> Option<Self> {
        Some(Self {
            oaep: OaepPrivateDecryptingKey::new(key.clone()).ok()?,
            pkcs1: Pkcs1PrivateDecryptingKey::new(key.clone()).ok()?,
            wrong: Mutex::new(Wrong {
                since: Instant::now(),
                times: 0,
            }),
        })
    }

    /// The key that was sealed, whatever is wrong with it `None`. Takes about a millisecond of work.
    pub fn open(&self, sealed: &[u8], now: Instant) -> Option<ApiKey> {
        if sealed.len() != SEALED_LENGTH || self.is_tired(now) {
            return None;
        }
        let sealed = STANDARD.decode(sealed).ok()?;
        let opened = self.oaep(&sealed).or_else(|| self.pkcs1(&sealed));
        let key = opened.as_deref().and_then(|text| key(text));
        if key.is_none() {
            self.wrong.lock().times += 1;
        }
        key
    }

    fn is_tired(&self, now: Instant) -> bool {
        let mut wrong = self.wrong.lock();
        if now.saturating_duration_since(wrong.since) >= WHILE {
            *wrong = Wrong {
                since: now,
                times: 0,
            };
        }
        wrong.times >= MAX_WRONG
    }

    fn oaep(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; self.oaep.min_output_size()]);
        let algorithm = &OAEP_SHA256_MGF1SHA256;
        let opened = self.oaep.decrypt(algorithm, sealed, &mut out, None);
        opened.ok().map(|text| Zeroizing::new(text.to_vec()))
    }

    fn pkcs1(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut out = Zeroizing::new(vec![0; self.pkcs1.min_output_size()]);
        let opened = self.pkcs1.decrypt(sealed, &mut out);
        opened.ok().map(|text| Zeroizing::new(text.to_vec()))
    }
}

/// One word that can stand in a header. The page seals what is in its field, blanks at its ends included.
fn key(text: &[u8]) -> Option<ApiKey> {
    let text = text.trim_ascii();
    let is_key = KEY_LENGTH.contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
    let text = std::str::from_utf8(text).ok().filter(|_| is_key)?;
    Some(ApiKey::new(text))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rsa::{
            KeySize, OAEP_SHA1_MGF1SHA1, OaepAlgorithm, OaepPublicEncryptingKey,
            Pkcs1PublicEncryptingKey, PublicEncryptingKey,
        },
    };

    use super::*;

    const KEY: &str = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz";

    fn private() -> PrivateDecryptingKey {
        PrivateDecryptingKey::generate(KeySize::Rsa2048).expect("a key")
    }

    /// As the page has it: from the DER of the public half.
    fn public(private: &PrivateDecryptingKey) -> PublicEncryptingKey {
        let der: PublicKeyX509Der<'_> = private.public_key().as_der().expect("DER");
        PublicEncryptingKey::from_der(der.as_ref()).expect("SPKI")
    }

    fn oaep(private: &PrivateDecryptingKey, how: &'static OaepAlgorithm, text: &[u8]) -> String {
        let key = OaepPublicEncryptingKey::new(public(private)).expect("OAEP");
        let mut out = vec![0; key.ciphertext_size()];
        let sealed = key.encrypt(how, text, &mut out, None).expect("sealed");
        STANDARD.encode(sealed)
    }

    fn pkcs1(private: &PrivateDecryptingKey, text: &[u8]) -> String {
        let key = Pkcs1PublicEncryptingKey::new(public(private)).expect("PKCS#1");
        let mut out = vec![0; key.ciphertext_size()];
        STANDARD.encode(key.encrypt(text, &mut out).expect("sealed"))
    }

    #[test]
    fn what_the_page_seals_is_opened_and_everything_else_is_nothing() {
        let (ours, other) = (private(), private());
        let opener = Opener::new(&ours).expect("an opener");
        let good = oaep(&ours, &OAEP_SHA256_MGF1SHA256, KEY.as_bytes());
        let mut forged = STANDARD.decode(&good).expect("base64");
        forged[200] ^= 1;
        for (row, sealed, want) in [
            ("as WebCrypto seals it", good.clone(), Some(KEY)),
            (
                "as JSEncrypt seals it",
                pkcs1(&ours, KEY.as_bytes()),
                Some(KEY),
            ),
            (
                "with a blank and a newline that were pasted along",
                pkcs1(&ours, format!(" {KEY}\n").as_bytes()),
                Some(KEY),
            ),
            ("one bit was changed", STANDARD.encode(forged), None),
            (
                "sealed for a key that we had once",
                oaep(&other, &OAEP_SHA256_MGF1SHA256, KEY.as_bytes()),
                None,
            ),
            (
                "another hash",
                oaep(&ours, &OAEP_SHA1_MGF1SHA1, KEY.as_bytes()),
                None,
            ),
            (
                "a text that would end the header and begin another",
                oaep(
                    &ours,
                    &OAEP_SHA256_MGF1SHA256,
                    b"sk-0123456789abcdef\r\nHost: evil",
                ),
                None,
            ),
            ("bytes that are no text", pkcs1(&ours, &[0x80; 40]), None),
            (
                "too short to be told from noise",
                pkcs1(&ours, b"sk-1"),
                None,
            ),
            ("the key in clear", KEY.to_owned(), None),
            ("nothing", String::new(), None),
            ("as long, and no base64", "!".repeat(SEALED_LENGTH), None),
            ("longer", format!("{good}AAAA"), None),
        ] {
            let opened = opener.open(sealed.as_bytes(), Instant::now());
            assert_eq!(opened, want.map(ApiKey::new), "{row}");
        }
    }

    #[test]
    fn who_guesses_is_soon_no_longer_answered() {
        let ours = private();
        let opener = Opener::new(&ours).expect("an opener");
        let good = oaep(&ours, &OAEP_SHA256_MGF1SHA256, KEY.as_bytes());
        let wrong = STANDARD.encode([7; 256]);
        let start = Instant::now();
        for _ in 0..MAX_WRONG {
            assert!(opener.open(good.as_bytes(), start).is_some());
            assert!(opener.open(wrong.as_bytes(), start).is_none());
        }
        assert!(opener.open(good.as_bytes(), start).is_none(), "not even it");
        let later = start + WHILE;
        assert!(opener.open(good.as_bytes(), later).is_some());
    }
}
