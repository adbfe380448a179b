//! Answers of sources, asked for once and kept for a while: whoever wants the same meanwhile waits for the
//! one that is under way. A question goes on when nobody waits any more, within a bounded time, so that
//! the next key stroke finds its answer.

use std::{
    future::Future,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::SourceError;

/// A failure is told again for so long before it is tried again.
const FAILURE_KEPT: Duration = Duration::from_secs(3);
/// Questions under way at once.
const AT_ONCE: usize = 8;

type Known<V> = Result<Arc<V>, SourceError>;

struct Slot<V> {
    asked: Instant,
    answer: watch::Receiver<Option<Known<V>>>,
}

pub struct Memo<K, V> {
    slots: Mutex<HashMap<K, Slot<V>>>,
    most: usize,
    kept: Duration,
    /// A question's whole time.
    patience: Duration,
    under_way: Arc<Semaphore>,
}

impl<K: Clone + Eq + Hash, V: Send + Sync + 'static> Memo<K, V> {
    pub fn new(most: usize, kept: Duration, patience: Duration) -> Self {
        Self {
            slots: Mutex::default(),
            most,
            kept,
            patience,
            under_way: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// What is known of `key`, or what `ask` answers within `wait`; `late` is said after that.
    pub async fn ask<F>(
        &self,
        key: &K,
        wait: Duration,
        late: SourceError,
        ask: impl FnOnce() -> F,
    ) -> Known<V>
    where
        F: Future<Output = Result<V, SourceError>> + Send + 'static,
    {
        let answer = self.slot(key, &late, ask);
        let Some(mut answer) = answer else {
            return Err(late);
        };
        match tokio::time::timeout(wait, answer.wait_for(Option::is_some)).await {
            Ok(Ok(known)) => known.clone().unwrap_or(Err(late)),
            // Too slow, or the question ended in a panic.
            Ok(Err(_)) | Err(_) => Err(late),
        }
    }

    fn slot<F>(
        &self,
        key: &K,
        late: &SourceError,
        ask: impl FnOnce() -> F,
    ) -> Option<watch::Receiver<Option<Known<V>>>>
    where
        F: Future<Output = Result<V, SourceError>> + Send + 'static,
    {
        let now = Instant::now();
        let mut slots = self.slots.lock();
        slots.retain(|_, slot| self.is_fresh(slot, now));
        if let Some(slot) = slots.get(key) {
            return Some(slot.answer.clone());
        }
        if slots.len() >= self.most {
            let oldest = slots.iter().min_by_key(|(_, s)| s.asked);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.and_then(|key| slots.remove(&key));
        }
        let permit = self.under_way.clone().try_acquire_owned().ok()?;
        let (tell, answer) = watch::channel(None);
        let (asking, patience, late) = (ask(), self.patience, late.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let known = tokio::time::timeout(patience, asking).await;
            let known = known.unwrap_or(Err(late)).map(Arc::new);
            let _ = tell.send(Some(known));
        });
        let slot = Slot {
            asked: now,
            answer: answer.clone(),
        };
        slots.insert(key.clone(), slot);
        Some(answer)
    }

    fn is_fresh(&self, slot: &Slot<V>, now: Instant) -> bool {
        let age = now.duration_since(slot.asked);
        match &*slot.answer.borrow() {
            None => age < self.patience + FAILURE_KEPT,
            Some(Ok(_)) => age < self.kept,
            Some(Err(_)) => age < FAILURE_KEPT,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::weights::Source;

    const LATE: SourceError = SourceError::TooSlow(Source::Civitai);
    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn one_question_serves_all_who_wait_and_goes_on_without_them() {
        let memo = Arc::new(Memo::<u8, u8>::new(4, LONG, LONG));
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = |wait| {
            let (memo, asked) = (memo.clone(), asked.clone());
            async move {
                memo.ask(&1, wait, LATE, || async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    Ok(7)
                })
                .await
            }
        };
        assert_eq!(ask(Duration::from_secs(1)).await, Err(LATE));
        assert_eq!(*ask(LONG).await.unwrap(), 7);
        assert_eq!(*ask(Duration::ZERO).await.unwrap(), 7);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_a_full_house_says_so() {
        let memo = Memo::<usize, usize>::new(3, LONG, LONG);
        for n in 0..20 {
            let known = memo.ask(&n, LONG, LATE, || async move { Ok(n) }).await;
            assert_eq!(*known.unwrap(), n);
        }
        assert!(memo.slots.lock().len() <= 3);
        let never = || std::future::pending::<Result<usize, SourceError>>();
        for n in 100..100 + AT_ONCE {
            assert_eq!(memo.ask(&n, Duration::ZERO, LATE, never).await, Err(LATE));
        }
        assert!(memo.slot(&999, &LATE, never).is_none());
    }
}
