//! Bytes that may be sent in an hour or a day: the one ledger of the process, and a tunnel's stream
//! that asks it before every write.
//!
//! Kept over a reload, by the rule's name. Called by [`super::outgoing`] and `listener::tunnel`.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    net::Host,
    policy::{
        RuleName, Terms,
        budget::{Account, Budget, Ledger, Payer},
    },
    token::{Principal, Via},
};

/// Accounts held at once; a rule with a budget per host, client or session has one for each.
const ACCOUNTS: usize = 16 << 10;

#[derive(Debug)]
pub struct Budgets(Mutex<Ledger>);

impl Default for Budgets {
    fn default() -> Self {
        Self(Mutex::new(Ledger::new(ACCOUNTS)))
    }
}

/// What one request or tunnel draws from.
#[derive(Clone, Debug)]
pub struct Allowance {
    budgets: Arc<Budgets>,
    account: Account,
    budget: Budget,
}

impl Allowance {
    /// `None` where the rule has no budget.
    pub fn of(
        budgets: &Arc<Budgets>,
        terms: Option<&Terms>,
        rule: &RuleName,
        host: &Host,
        client: IpAddr,
        who: Option<&Principal>,
    ) -> Option<Self> {
        let budget = terms?.budget?;
        Some(Self {
            budgets: budgets.clone(),
            account: Account::of(
                &budget,
                rule,
                Payer {
                    host,
                    client,
                    caller: who.and_then(caller).as_deref(),
                },
            ),
            budget,
        })
    }

    /// Up to `want` bytes.
    fn take(&self, want: u64) -> u64 {
        let now = OffsetDateTime::now_utc();
        self.budgets
            .0
            .lock()
            .take(&self.account, &self.budget, want, now)
    }

    fn give_back(&self, bytes: u64) {
        if bytes > 0 {
            self.budgets.0.lock().give_back(&self.account, bytes);
        }
    }

    /// All of `bytes`, or none of them.
    pub fn spend(&self, bytes: u64) -> bool {
        let given = self.take(bytes);
        if given < bytes {
            self.give_back(given);
        }
        given == bytes
    }
}

/// A session, or a key by its name; whoever needs neither is known by address alone.
fn caller(who: &Principal) -> Option<String> {
    match (who.session, who.via) {
        (Some(session), _) => Some(format!("session {session}")),
        (None, Via::ApiKey) => Some(format!("key {}", who.username)),
        (None, Via::Open | Via::Cookie | Via::Bearer | Via::Chat | Via::Plugin) => None,
    }
}

/// A stream to an upstream whose writes are paid for.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    allowance: Option<Allowance>,
    spent: bool,
}

impl<S> Metered<S> {
    pub fn new(inner: S, allowance: Option<Allowance>) -> Self {
        Self {
            inner,
            allowance,
            spent: false,
        }
    }

    /// A write was refused for want of budget.
    pub fn is_spent(&self) -> bool {
        self.spent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(allowance) = self.allowance.clone() else {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        };
        let given = allowance.take(buf.len() as u64);
        if given == 0 && !buf.is_empty() {
            self.spent = true;
            return Poll::Ready(Err(io::Error::other("budget spent")));
        }
        let part = buf.get(..given as usize).unwrap_or(buf);
        let poll = Pin::new(&mut self.inner).poll_write(cx, part);
        let written = match &poll {
            Poll::Ready(Ok(n)) => *n as u64,
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        allowance.give_back(given.saturating_sub(written));
        poll
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::budget::{Each, Per};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_tunnel_gets_as_far_as_its_budget_and_no_byte_further() {
        let terms = Terms {
            budget: Some(Budget {
                bytes: 10,
                per: Per::Day,
                each: Each::Rule,
            }),
            ..Terms::default()
        };
        let host = Host::parse("a.test").unwrap();
        let client = [127, 0, 0, 1].into();
        let budgets = Arc::new(Budgets::default());
        let rule = RuleName::new("r");
        let allowance = || Allowance::of(&budgets, Some(&terms), &rule, &host, client, None);
        let (near, mut far) = tokio::io::duplex(64);
        let mut metered = Metered::new(near, allowance());
        metered.write_all(b"12345").await.unwrap();
        assert!(!metered.is_spent());
        assert!(metered.write_all(b"6789012345").await.is_err());
        assert!(metered.is_spent());
        drop(metered);
        let mut seen = Vec::new();
        far.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"1234567890");
        assert!(
            !allowance().unwrap().spend(1),
            "the next one finds it spent"
        );
    }
}
