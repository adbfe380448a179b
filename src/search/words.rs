//! From text to words.
//!
//! Names are written `CLIPTextEncode`, `ip_adapter`, `SDXL1.0`; each part is a word, neighbours are one
//! too (people type `ksampler` and `textencode`), and so is the whole. Chinese, Japanese and Korean have
//! no blanks: there every two neighbouring characters are a word.

use tantivy::tokenizer::{
    Language, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenStream, Tokenizer,
};

/// Longer runs are no words: base64, hashes.
const MAX_RUN: usize = 120;
/// Parts of one name beyond which only the parts themselves count.
const MAX_JOINED: usize = 12;

/// Name of the analyzer in the index.
pub(super) const ANALYZER: &str = "words";

/// What indexes and queries alike are read with.
pub(super) fn analyzer() -> TextAnalyzer {
    let words = TextAnalyzer::builder(Words);
    let stemmer = Stemmer::new(Language::English);
    match StopWordFilter::new(Language::English) {
        Some(stop) => words.filter(stop).filter(stemmer).build(),
        // English has such a list.
        None => words.filter(stemmer).build(),
    }
}

#[derive(Clone)]
struct Words;

impl Tokenizer for Words {
    type TokenStream<'a> = Stream;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Stream {
        Stream {
            words: split(text).into_iter(),
            token: Token::default(),
            next: 0,
        }
    }
}

struct Stream {
    words: std::vec::IntoIter<String>,
    token: Token,
    next: usize,
}

impl TokenStream for Stream {
    fn advance(&mut self) -> bool {
        let Some(word) = self.words.next() else {
            return false;
        };
        self.token.text = word;
        self.token.position = self.next;
        self.next += 1;
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// The words of a text, in lower case.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut run = String::new();
    let mut script = Script::None;
    for c in text.chars().chain(std::iter::once(' ')) {
        // `sd_xl` is one name, and people type `sdxl`.
        if matches!(c, '_' | '-') && script == Script::Spaced {
            run.push(c);
            continue;
        }
        let now = Script::of(c);
        if now != script {
            flush(&mut run, script, &mut out);
            script = now;
        }
        if now != Script::None {
            run.push(c);
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    None,
    Spaced,
    /// Written without blanks.
    Dense,
}

impl Script {
    fn of(c: char) -> Self {
        match c {
            '\u{3040}'..='\u{30ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{2fa1f}' => Script::Dense,
            c if c.is_alphanumeric() => Script::Spaced,
            _ => Script::None,
        }
    }
}

/// True where the text holds a character of a script without blanks.
pub fn is_dense(text: &str) -> bool {
    text.chars().any(|c| Script::of(c) == Script::Dense)
}

fn flush(run: &mut String, script: Script, out: &mut Vec<String>) {
    match script {
        _ if run.is_empty() || run.len() > MAX_RUN => {}
        Script::None => {}
        Script::Dense => {
            let chars: Vec<char> = run.chars().collect();
            if let [only] = chars.as_slice() {
                out.push(only.to_string());
            }
            out.extend(chars.windows(2).map(|pair| pair.iter().collect::<String>()));
        }
        Script::Spaced => {
            let parts: Vec<String> = run.split(['_', '-']).flat_map(parts).collect();
            let several = (2..=MAX_JOINED).contains(&parts.len());
            if several {
                out.push(parts.concat());
                if parts.len() > 2 {
                    out.extend(parts.windows(2).map(|pair| pair.concat()));
                }
            }
            out.extend(parts);
        }
    }
    run.clear();
}

/// `CLIPTextEncode` is `clip`, `text`, `encode`; `flux2` is `flux`, `2`.
fn parts(run: &str) -> Vec<String> {
    let chars: Vec<char> = run.chars().collect();
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    for (at, c) in chars.iter().copied().enumerate() {
        let before = at.checked_sub(1).and_then(|b| chars.get(b).copied());
        let next = chars.get(at + 1).copied();
        let begins = before.is_some_and(|before| {
            let hump = c.is_uppercase() && before.is_lowercase();
            // The last capital of several belongs to what follows, but `SDs` and `VAEs` are plurals.
            let after_capitals = c.is_uppercase()
                && before.is_uppercase()
                && next.is_some_and(char::is_lowercase)
                && !(next == Some('s') && chars.get(at + 2).is_none_or(|c| c.is_uppercase()));
            let digits = c.is_numeric() != before.is_numeric();
            hump || after_capitals || digits
        });
        if begins && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
        }
        part.extend(c.to_lowercase());
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences_are_split_as_people_search_for_them() {
        for (text, want) in [
            ("KSampler", vec!["ksampler", "k", "sampler"]),
            (
                "CLIPTextEncode",
                vec![
                    "cliptextencode",
                    "cliptext",
                    "textencode",
                    "clip",
                    "text",
                    "encode",
                ],
            ),
            (
                "load_image-mask",
                vec![
                    "loadimagemask",
                    "loadimage",
                    "imagemask",
                    "load",
                    "image",
                    "mask",
                ],
            ),
            ("sd_xl -- _x_", vec!["sdxl", "sd", "xl", "x"]),
            (
                "flux2 v1.5",
                vec!["flux2", "flux", "2", "v1", "v", "1", "5"],
            ),
            ("VAEs", vec!["vaes"]),
            ("图像放大", vec!["图像", "像放", "放大"]),
            (
                "图 KSampler采样",
                vec!["图", "ksampler", "k", "sampler", "采样"],
            ),
            ("  ,;! ", vec![]),
        ] {
            assert_eq!(split(text), want, "{text}");
        }
        assert!(split(&"x".repeat(500)).is_empty(), "no word is that long");
    }

    #[test]
    fn words_are_stemmed_and_small_ones_left_out() {
        let mut analyzer = analyzer();
        let mut stream = analyzer.token_stream("the upscaling of images");
        let mut words = Vec::new();
        while stream.advance() {
            words.push(stream.token().text.clone());
        }
        assert_eq!(words, ["upscal", "imag"]);
    }
}
