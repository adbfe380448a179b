//! Whose turn it is: one question of a caller at a time, and few of all together. The user's GPU is
//! one; a page that asks ten times at once must not starve the chat.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::handler::Exchange;

/// Questions under way, of all callers.
const AT_ONCE: usize = 2;
/// Questions of one caller that are under way or wait.
const OF_ONE: usize = 4;
/// The table of callers is tidied when it is larger.
const TIDY: usize = 64;

/// Who asks: a session, else a name, at an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asker(String);

impl Asker {
    pub fn of(exchange: &Exchange) -> Self {
        let address = exchange.client;
        Self(match &exchange.principal {
            None => address.to_string(),
            Some(principal) => match principal.session {
                Some(session) => session.to_string(),
                None => format!("{}@{address}", principal.username),
            },
        })
    }
}

/// Held while a question is under way.
#[derive(Debug)]
pub struct Turn {
    // In this order: the caller's next question may wait for a place among all.
    _among_all: OwnedSemaphorePermit,
    _of_caller: OwnedSemaphorePermit,
}

/// The caller has too many questions waiting already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

#[derive(Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    callers: Mutex<HashMap<Asker, Weak<Semaphore>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            callers: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn; the wait is the caller's to bound.
    pub async fn take(&self, asker: &Asker) -> Result<Turn, TooMany> {
        let own = self.own(asker);
        // Each question under way or waiting holds one; so does this one.
        if Arc::strong_count(&own) > OF_ONE {
            return Err(TooMany);
        }
        // Neither is ever closed.
        let of_caller = own.acquire_owned().await.map_err(|_| TooMany)?;
        let among_all = self.all.clone().acquire_owned().await;
        Ok(Turn {
            _among_all: among_all.map_err(|_| TooMany)?,
            _of_caller: of_caller,
        })
    }

    fn own(&self, asker: &Asker) -> Arc<Semaphore> {
        let mut callers = self.callers.lock();
        if let Some(own) = callers.get(asker).and_then(Weak::upgrade) {
            return own;
        }
        if callers.len() >= TIDY {
            callers.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(1));
        callers.insert(asker.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::join_all};

    use super::*;

    fn asker(name: &str) -> Asker {
        Asker(name.to_owned())
    }

    #[tokio::test]
    async fn one_of_a_caller_and_few_of_all_are_under_way() {
        let turns = Turns::default();
        let (ann, bob, eve) = (asker("ann"), asker("bob"), asker("eve"));
        let first = turns.take(&ann).await.expect("a free place");
        assert!(
            turns.take(&ann).now_or_never().is_none(),
            "the same caller waits"
        );
        let second = turns.take(&bob).await.expect("another caller's place");
        assert!(
            turns.take(&eve).now_or_never().is_none(),
            "a third one waits for all"
        );
        drop(first);
        let third = turns.take(&eve).await.expect("the place that became free");
        drop((second, third));
        assert!(turns.take(&ann).now_or_never().is_some(), "all are free");
    }

    #[tokio::test]
    async fn who_asks_without_end_is_turned_away() {
        let turns = Turns::default();
        let ann = asker("ann");
        let held = turns.take(&ann).await.expect("a free place");
        let mut waiting: Vec<_> = (1..OF_ONE).map(|_| turns.take(&ann).boxed()).collect();
        for take in &mut waiting {
            assert!(take.as_mut().now_or_never().is_none(), "it waits");
        }
        assert_eq!(turns.take(&ann).await.err(), Some(TooMany));
        assert!(
            turns.take(&asker("bob")).await.is_ok(),
            "another one is not in its way"
        );
        drop(held);
        // Each gives its place to the next when it is done.
        let done = waiting
            .into_iter()
            .map(|take| take.map(|turn| turn.is_ok()));
        assert_eq!(join_all(done).await, vec![true; OF_ONE - 1]);
    }

    #[tokio::test]
    async fn callers_who_are_gone_are_forgotten() {
        let turns = Turns::default();
        for n in 0..10 * TIDY {
            drop(turns.take(&asker(&n.to_string())).await);
        }
        assert!(turns.callers.lock().len() <= TIDY);
    }
}
