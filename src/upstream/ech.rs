//! Whether a tunnel's encrypted ClientHello can name another server than the one that was judged.
//!
//! `listener::connect` asks [`EchGuard`] before it relays a hello with that extension. The server
//! itself is asked (see `tls::ech`): where it takes no such hello, what looks like one is noise (GREASE)
//! and passes. Where it does, or does not say, the tunnel is refused. Answers are held for a while;
//! questions are bounded in number and time, and go to checked addresses only.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rustls::{client::danger::ServerCertVerifier, pki_types::ServerName};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use super::dial::Dialer;
use crate::{
    config::EncryptedClientHello,
    net::{Authority, Host},
    tls::{
        ClientTls, TlsConfigError,
        ech::{self, FrontAnswer},
    },
};

/// How long an answer stands. Fronts turn this on for all their sites at once, and rarely.
const ANSWER_LIFE: Duration = Duration::from_secs(600);
const ANSWERS_HELD: usize = 1024;
const QUESTIONS_AT_ONCE: usize = 16;

pub struct EchGuard {
    mode: EncryptedClientHello,
    dialer: Arc<Dialer>,
    /// Who judges a server's certificate, and who those of upstreams with a CA of their own.
    system: Arc<dyn ServerCertVerifier>,
    private: HashMap<Authority, Arc<dyn ServerCertVerifier>>,
    timeout: Duration,
    slots: Semaphore,
    answers: Mutex<HashMap<Authority, (Instant, FrontAnswer)>>,
}

impl EchGuard {
    /// `ca_files` of upstreams that have one, read now: a wrong one stops the start.
    pub fn new<'a>(
        mode: EncryptedClientHello,
        dialer: Arc<Dialer>,
        tls: &ClientTls,
        ca_files: impl Iterator<Item = (&'a Authority, &'a Path)>,
        timeout: Duration,
    ) -> Result<Self, TlsConfigError> {
        let mut private = HashMap::new();
        for (authority, path) in ca_files {
            private.insert(authority.clone(), tls.verifier_for(Some(path))?);
        }
        Ok(Self {
            mode,
            dialer,
            system: tls.verifier_for(None)?,
            private,
            timeout,
            slots: Semaphore::new(QUESTIONS_AT_ONCE),
            answers: Mutex::default(),
        })
    }

    /// In words, what passes here and did not under `old`.
    pub fn opened_since(&self, old: &Self) -> Option<String> {
        use EncryptedClientHello::{AllowGrease, Refuse};
        match (old.mode, self.mode) {
            (Refuse, AllowGrease) => {
                Some("tls.encrypted_client_hello no longer refuses what looks like GREASE".into())
            }
            (Refuse | AllowGrease, Refuse) | (AllowGrease, AllowGrease) => None,
        }
    }

    /// Whether no hello with the extension passes, whatever the server says.
    pub fn refuses_all(&self) -> bool {
        match self.mode {
            EncryptedClientHello::Refuse => true,
            EncryptedClientHello::AllowGrease => false,
        }
    }

    /// Whether a hello with the extension may go to `authority`; if not, why.
    pub async fn permits(&self, authority: &Authority) -> Result<(), String> {
        match self.mode {
            EncryptedClientHello::Refuse => {
                return Err("tls.encrypted_client_hello refuses it in tunnels".into());
            }
            EncryptedClientHello::AllowGrease => {}
        }
        match self.front(authority).await {
            FrontAnswer::TakesNone => Ok(()),
            FrontAnswer::Takes => Err(format!(
                "{} decrypts such hellos, and might serve another name than this",
                authority.host
            )),
            FrontAnswer::Unknown(why) => Err(format!(
                "{} did not say whether it decrypts such hellos: {why}",
                authority.host
            )),
        }
    }

    async fn front(&self, authority: &Authority) -> FrontAnswer {
        if let Some(held) = self.held(authority) {
            return held;
        }
        let Ok(_slot) = self.slots.try_acquire() else {
            return FrontAnswer::Unknown("too many questions at once".into());
        };
        let asked = tokio::time::timeout(self.timeout, self.ask(authority)).await;
        let answer = asked.unwrap_or_else(|_| FrontAnswer::Unknown("no answer in time".into()));
        match &answer {
            FrontAnswer::TakesNone | FrontAnswer::Takes => self.hold(authority, &answer),
            // Perhaps it is better next time.
            FrontAnswer::Unknown(_) => {}
        }
        answer
    }

    async fn ask(&self, authority: &Authority) -> FrontAnswer {
        let Host::Name(name) = &authority.host else {
            return FrontAnswer::Unknown("it has no name".into());
        };
        let verifier = self.private.get(authority).unwrap_or(&self.system);
        let config = ech::asking(name, verifier.clone()).map_err(|e| e.to_string());
        let server_name = ServerName::try_from(name.to_string()).map_err(|e| e.to_string());
        let (config, server_name) = match (config, server_name) {
            (Ok(config), Ok(server_name)) => (config, server_name),
            (Err(why), _) | (_, Err(why)) => return FrontAnswer::Unknown(why),
        };
        let dialed = match self.dialer.dial(authority, self.timeout).await {
            Ok(dialed) => dialed,
            Err(e) => return FrontAnswer::Unknown(e.detail),
        };
        let handshake = TlsConnector::from(Arc::new(config))
            .connect(server_name, dialed.stream)
            .await;
        ech::answer(handshake.map(drop))
    }

    fn held(&self, authority: &Authority) -> Option<FrontAnswer> {
        let answers = self.answers.lock();
        let (since, answer) = answers.get(authority)?;
        (since.elapsed() < ANSWER_LIFE).then(|| answer.clone())
    }

    fn hold(&self, authority: &Authority, answer: &FrontAnswer) {
        let mut answers = self.answers.lock();
        if answers.len() >= ANSWERS_HELD {
            answers.clear();
        }
        answers.insert(authority.clone(), (Instant::now(), answer.clone()));
    }
}
