//! Word that ComfyUI has something new, ahead of the next look: a workflow that was saved through the front
//! door, a model that came by here. Called by whoever sees it; [`super::watch`] looks then.
//!
//! A model is not there when its last byte has left: the plugin moves it into its folder after that. So it
//! is looked for a few times, further and further apart, until something has changed.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::ComfyUi;

/// What is known of the new thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// ComfyUI has it.
    There,
    /// It will be there in a while.
    Coming,
}

/// After the word of something that is coming.
const LOOKS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(8),
    Duration::from_secs(20),
    Duration::from_secs(50),
];
/// Between two looks, however much is saved.
const GAP: Duration = Duration::from_millis(500);
/// Who asks right behind the news waits that long for the look.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// News that no look has followed yet.
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// When the first and the newest came that is there already.
    there: Option<(Instant, Instant)>,
    /// When the newest came that is on its way, and the looks since.
    coming: Option<(Instant, usize)>,
}

impl Noticed {
    pub(super) fn take(&mut self, news: News, now: Instant) {
        match news {
            News::There => self.there = Some((self.there.map_or(now, |(first, _)| first), now)),
            News::Coming => self.coming = Some((now, 0)),
        }
    }

    /// Something is there that nobody has looked at.
    pub(super) fn is_behind(&self) -> bool {
        self.there.is_some()
    }

    /// Until the next look is due; `None` where nothing is awaited.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let coming = self.coming.and_then(|(at, looks)| {
            let look = at + *LOOKS.get(looks)?;
            Some(look.saturating_duration_since(now))
        });
        match self.there {
            Some((first, _)) => Some((first + GAP).saturating_duration_since(now)),
            None => coming,
        }
    }

    /// A look that began then has ended.
    pub(super) fn looked(&mut self, began: Instant, changed: bool) {
        self.there = match self.there {
            Some((_, newest)) if newest > began => Some((newest, newest)),
            Some(_) | None => None,
        };
        self.coming = match self.coming {
            Some((at, _)) if changed && at <= began => None,
            Some((at, looks)) if LOOKS.get(looks).is_some_and(|look| at + *look <= began) => {
                Some((at, looks + 1)).filter(|(_, looks)| *looks < LOOKS.len())
            }
            other => other,
        };
    }
}

impl ComfyUi {
    /// Something is new. Returns at once; a ComfyUI that nobody needs is not asked before somebody does.
    pub fn news(self: &Arc<Self>, news: News) {
        self.clock.lock().noticed.take(news, Instant::now());
        if self.watching.load(Ordering::Acquire) {
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_is_there_is_looked_at_once_and_at_once() {
        let start = Instant::now();
        let mut noticed = Noticed::default();
        assert_eq!(noticed.due(start), None);
        noticed.take(News::There, start);
        assert!(noticed.is_behind());
        assert!(noticed.due(start).is_some_and(|wait| wait <= GAP));
        noticed.looked(start - seconds(1), true);
        assert!(noticed.is_behind(), "that look began before");
        noticed.looked(start, false);
        assert!(!noticed.is_behind());
        assert_eq!(noticed.due(start), None);
    }

    #[test]
    fn what_is_coming_is_looked_for_until_something_changed_and_not_for_ever() {
        let start = Instant::now();
        let mut noticed = Noticed::default();
        noticed.take(News::Coming, start);
        assert!(!noticed.is_behind(), "nobody waits for it");
        let mut now = start;
        let mut looks = Vec::new();
        while let Some(wait) = noticed.due(now) {
            now += wait;
            looks.push((now - start).as_secs());
            noticed.looked(now, false);
            assert!(looks.len() < 100);
        }
        assert_eq!(looks, [1, 3, 8, 20, 50]);

        noticed.take(News::Coming, start);
        noticed.looked(start, false);
        assert_eq!(noticed.due(start), Some(seconds(1)), "too early to count");
        noticed.looked(start + seconds(1), true);
        assert_eq!(noticed.due(start), None, "it has come");
    }
}
