//! Parts a model's `<think>` text from what it says, across chunk boundaries (WIRE.md 2.4).
//!
//! Tags inside code (a fence, or right behind a backtick) are text. A stray closing tag, left by
//! templates that open the thinking in the prompt, is dropped.

const TAGS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// Text for the person, and text that was thought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parted {
    pub visible: String,
    pub reasoning: String,
    /// A tag was taken out.
    pub changed: bool,
}

#[derive(Clone, Debug, Default)]
pub struct ThinkFilter {
    /// Closing tag that is waited for; `None` outside.
    inside: Option<&'static str>,
    /// Beginning of what may be a tag.
    held: String,
    fenced: bool,
    ticks: usize,
    /// Behind a closing tag: blank lines that parted thought from answer are dropped.
    trim: bool,
}

impl ThinkFilter {
    /// True when `text` cannot concern the filter: it would come back whole and visible.
    pub fn passes(&self, text: &str) -> bool {
        self.inside.is_none()
            && self.held.is_empty()
            && !self.trim
            && self.ticks == 0
            && memchr::memchr2(b'<', b'`', text.as_bytes()).is_none()
    }

    pub fn push(&mut self, text: &str) -> Parted {
        let mut parted = Parted::default();
        if self.passes(text) {
            parted.visible.push_str(text);
            return parted;
        }
        let mut buffer = std::mem::take(&mut self.held);
        parted.changed = !buffer.is_empty() || self.inside.is_some() || self.trim;
        buffer.push_str(text);
        let mut rest = buffer.as_str();
        while let Some(c) = rest.chars().next() {
            let step = match self.inside {
                Some(close) => self.step_inside(rest, close, &mut parted),
                None => self.step_outside(rest, c, &mut parted),
            };
            match step {
                Some(n) => rest = rest.get(n..).unwrap_or_default(),
                None => {
                    self.held.push_str(rest);
                    parted.changed = true;
                    break;
                }
            }
        }
        parted
    }

    /// What was held when the answer ended: no tag after all.
    pub fn finish(&mut self) -> Parted {
        let held = std::mem::take(&mut self.held);
        let changed = !held.is_empty();
        match self.inside {
            Some(_) => Parted {
                reasoning: held,
                changed,
                ..Parted::default()
            },
            None => Parted {
                visible: held,
                changed,
                ..Parted::default()
            },
        }
    }

    /// Parts a whole text; a closing tag without an opening one ends thinking that began before.
    pub fn part_whole(text: &str) -> Parted {
        let first = |pick: fn(&(&'static str, &'static str)) -> &'static str| {
            TAGS.iter()
                .filter_map(|t| Some((find(text, pick(t))?, pick(t))))
                .min_by_key(|(at, _)| *at)
        };
        let mut filter = Self::default();
        let mut head = String::new();
        let mut body = text;
        if let Some((close_at, close)) = first(|t| t.1)
            && first(|t| t.0).is_none_or(|(open_at, _)| open_at > close_at)
            && !text.get(..close_at).unwrap_or_default().contains('`')
        {
            head.push_str(text.get(..close_at).unwrap_or_default());
            body = text.get(close_at + close.len()..).unwrap_or_default();
            filter.trim = true;
        }
        let mut parted = filter.push(body);
        let rest = filter.finish();
        parted.visible.push_str(&rest.visible);
        parted.reasoning.insert_str(0, &head);
        parted.reasoning.push_str(&rest.reasoning);
        parted.changed = parted.visible != text;
        parted
    }

    /// Bytes of `rest` dealt with; `None` when it may be the beginning of the closing tag.
    fn step_inside(
        &mut self,
        rest: &str,
        close: &'static str,
        parted: &mut Parted,
    ) -> Option<usize> {
        if let Some(tag) = starts_with(rest, close) {
            self.inside = None;
            self.trim = true;
            return Some(tag);
        }
        if is_beginning(rest, close) {
            return None;
        }
        let next = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| *c == '<')
            .map_or(rest.len(), |(at, _)| at);
        parted
            .reasoning
            .push_str(rest.get(..next).unwrap_or_default());
        Some(next)
    }

    fn step_outside(&mut self, rest: &str, c: char, parted: &mut Parted) -> Option<usize> {
        if c == '<' && !self.fenced && self.ticks == 0 {
            for (open, close) in TAGS {
                if let Some(n) = starts_with(rest, open) {
                    self.inside = Some(close);
                    parted.changed = true;
                    return Some(n);
                }
                if let Some(n) = starts_with(rest, close) {
                    self.trim = true;
                    parted.changed = true;
                    return Some(n);
                }
            }
            if TAGS
                .iter()
                .any(|(open, close)| is_beginning(rest, open) || is_beginning(rest, close))
            {
                return None;
            }
        }
        if self.trim && c.is_whitespace() {
            return Some(c.len_utf8());
        }
        self.trim = false;
        if c == '`' {
            self.ticks += 1;
            if self.ticks == 3 {
                self.fenced = !self.fenced;
            }
            parted.visible.push(c);
            return Some(1);
        }
        self.ticks = 0;
        if c == '<' {
            parted.visible.push(c);
            return Some(1);
        }
        let next = rest.find(['<', '`']).unwrap_or(rest.len());
        parted
            .visible
            .push_str(rest.get(..next).unwrap_or_default());
        Some(next)
    }
}

/// Length of `tag` if `text` begins with it, in any case.
fn starts_with(text: &str, tag: &str) -> Option<usize> {
    text.get(..tag.len())
        .filter(|start| start.eq_ignore_ascii_case(tag))
        .map(str::len)
}

/// True if all of `text` is the beginning of `tag`.
fn is_beginning(text: &str, tag: &str) -> bool {
    text.len() < tag.len()
        && tag
            .get(..text.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(text))
}

fn find(text: &str, tag: &str) -> Option<usize> {
    text.char_indices()
        .filter(|(_, c)| *c == '<')
        .map(|(at, _)| at)
        .find(|at| {
            text.get(*at..)
                .is_some_and(|rest| starts_with(rest, tag).is_some())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streamed(text: &str, piece: usize) -> (String, String) {
        let mut filter = ThinkFilter::default();
        let (mut visible, mut reasoning) = (String::new(), String::new());
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(piece) {
            let parted = filter.push(&piece.iter().collect::<String>());
            visible.push_str(&parted.visible);
            reasoning.push_str(&parted.reasoning);
        }
        let parted = filter.finish();
        (visible + &parted.visible, reasoning + &parted.reasoning)
    }

    #[test]
    fn thinking_is_parted_for_every_piece_size() {
        let cases = [
            ("no tag", "a < b `c`", "a < b `c`", ""),
            (
                "at the beginning",
                "<think>\nhm</think>\n\nHello",
                "Hello",
                "\nhm",
            ),
            ("in the middle", "a<think>b</think>c", "ac", "b"),
            ("twice", "<think>a</think>b<think>c</think>d", "bd", "ac"),
            ("never closed", "<think>a < b", "", "a < b"),
            ("nothing thought", "<think>\n\n</think>\n\nHi", "Hi", "\n\n"),
            (
                "the longer tag",
                "<thinking>a</think></thinking>b",
                "b",
                "a</think>",
            ),
            ("any case", "<THINK>a</Think>b", "b", "a"),
            ("another tag", "<thin><b>x</b>", "<thin><b>x</b>", ""),
            ("half a tag at the end", "a<thi", "a<thi", ""),
            (
                "half a closing tag at the end",
                "<think>a</thi",
                "",
                "a</thi",
            ),
            ("a stray closing tag", "a</think>b", "ab", ""),
            (
                "in a fence",
                "```\n<think>x</think>\n```\n<think>y</think>z",
                "```\n<think>x</think>\n```\nz",
                "y",
            ),
            (
                "behind a backtick",
                "the `<think>` tag",
                "the `<think>` tag",
                "",
            ),
            ("other letters", "漢<think>é🙂</think>字", "漢字", "é🙂"),
        ];
        for (name, input, visible, reasoning) in cases {
            for piece in 1..=input.chars().count() {
                let got = streamed(input, piece);
                assert_eq!(
                    got,
                    (visible.to_owned(), reasoning.to_owned()),
                    "{name}, pieces of {piece}"
                );
            }
        }
    }

    #[test]
    fn a_whole_text_knows_thinking_that_began_in_the_prompt() {
        let cases = [
            (
                "a closing tag alone",
                "hm\n</think>\n\nHello",
                "Hello",
                "hm\n",
            ),
            ("both tags", "<think>a</think>b", "b", "a"),
            (
                "a closing tag in code",
                "use `</think>` here",
                "use `</think>` here",
                "",
            ),
            ("none", "Hello", "Hello", ""),
        ];
        for (name, input, visible, reasoning) in cases {
            let got = ThinkFilter::part_whole(input);
            assert_eq!(
                (&*got.visible, &*got.reasoning),
                (visible, reasoning),
                "{name}"
            );
            assert_eq!(got.changed, input != visible, "{name}");
        }
    }
}
